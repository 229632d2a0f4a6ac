package loadgen

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const shownBreaches = 10

// Classes of answers.
const (
	ClassAccepted = "accepted"
	ClassRepeated = "repeated" // 200 to what was accepted before
	ClassRefused  = "refused"
	ClassUnknown  = "unknown" // no answer, or one that nobody knows the outcome
)

// Report is what a run showed.
type Report struct {
	Config    Config
	Elapsed   time.Duration
	Accepted  uint64            // answers 200 to triggers
	Repeated  uint64            // answers 200 to repeats
	Unknown   uint64            // requests without a known outcome
	Again     uint64            // requests that were sent once more, repeats included
	Refused   map[string]uint64 // requests, by status and code
	Missed    uint64            // triggers that were due and had no connection free
	Latency   *hdrhistogram.Histogram
	Latencies map[string]*hdrhistogram.Histogram // by class, from when a request was due; µs
	Services  map[string]*hdrhistogram.Histogram // by class, from when it was sent; empty in a closed loop
	Idle      int                                // connections that ran out of users
	Broken    []Breach
	totals    Totals
	audit     findings
}

// Report sums up what all connections saw, and the audit.
func (r *Session) Report() *Report {
	rep := &Report{Config: r.cfg, Elapsed: r.elapsed, Refused: map[string]uint64{}, audit: r.audit, Missed: r.missed,
		Latencies: r.fromDue.merged(), Services: r.fromSent.merged(), totals: r.history.sum(), Broken: sorted(r.history.breaches, r.audit.breaches)}
	for _, s := range r.senders {
		rep.Accepted += s.tally.accepted
		rep.Repeated += s.tally.repeated
		rep.Unknown += s.tally.unknown
		rep.Again += s.tally.again
		for code, n := range s.tally.refused {
			rep.Refused[code] += n
		}
		if s.tally.idle {
			rep.Idle++
		}
	}
	if rep.Latency = rep.Latencies[ClassAccepted]; rep.Latency == nil {
		rep.Latency = newHistogram()
	}
	return rep
}

// Forget lets go of what was measured so far, not of what was promised: what is driven after it is reported as if it were the beginning.
func (r *Session) Forget() {
	r.senders, r.elapsed, r.missed = nil, 0, 0
	r.fromDue, r.fromSent = latencies{}, latencies{}
}

// Rate is accepted triggers a second.
func (r *Report) Rate() float64 { return float64(r.Accepted) / r.Elapsed.Seconds() }

// InState is how many triggers are in the state, by the audit: all accepted ones, and those with an unknown outcome that were stored.
func (r *Report) InState() uint64 { return r.totals.Accepted + r.audit.surfaced }

// Lost and Doubled are how many accepted triggers the states of their users do not count, and how many they count too often.
func (r *Report) Lost() uint64    { return r.audit.missing }
func (r *Report) Doubled() uint64 { return r.audit.excess }

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "load      %s over %d connections for %.1fs, %d users, %s\n", r.Config.shape(), r.Config.Connections, r.Elapsed.Seconds(), r.Config.Users, r.Config.payload())
	fmt.Fprintf(w, "accepted  %d, %.0f/s\n", r.Accepted, r.Rate())
	if r.Repeated > 0 || r.Again > 0 {
		fmt.Fprintf(w, "again     %d requests were sent once more; %d answered as repeats\n", r.Again, r.Repeated)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "refused   %d × %s\n", r.Refused[code], code)
	}
	if r.Unknown > 0 {
		fmt.Fprintf(w, "unknown   %d requests without a known outcome; of %d triggers it stayed unknown, %d of these are in the state\n",
			r.Unknown, r.totals.Unknown, r.audit.surfaced)
	}
	if r.Missed > 0 {
		fmt.Fprintf(w, "not sent  %d triggers were due and found no connection free: the server, or too few connections, cannot keep up\n", r.Missed)
	}
	if r.Idle > 0 {
		fmt.Fprintf(w, "idle      %d connections ran out of users: each had an unknown outcome; see -keys\n", r.Idle)
	}
	printLatencies(w, "", r.Latencies)
	printLatencies(w, " from sending, not from when it was due", r.Services)
	r.printAudit(w)
}

// shape is the load in words.
func (c *Config) shape() string {
	words := []string{"closed loop"}
	switch {
	case c.Burst > 0:
		words[0] = fmt.Sprintf("bursts of %d every %s", c.Burst, c.Every)
	case c.Rate > 0:
		words[0] = fmt.Sprintf("open loop of %g/s", c.Rate)
	}
	if c.Batch > 1 {
		words = append(words, fmt.Sprintf("batches of %d", c.Batch))
	}
	if c.Skew.Calls > 0 {
		words = append(words, fmt.Sprintf("%g %% of the calls for %g %% of the users", c.Skew.Calls, c.Skew.Users))
	}
	if c.Keys {
		words = append(words, "with keys")
	}
	if c.Repeats > 0 {
		words = append(words, c.Repeats.String()+" repeated")
	}
	return strings.Join(words, ", ")
}

func (c *Config) payload() string {
	return fmt.Sprintf("%d more variables of %d bytes", c.Vars, c.ValueBytes)
}

func printLatencies(w io.Writer, note string, of map[string]*hdrhistogram.Histogram) {
	for _, class := range slices.Sorted(maps.Keys(of)) {
		h := of[class]
		fmt.Fprintf(w, "latency   %-8s  p50 %s  p90 %s  p99 %s  p99.9 %s  max %s%s\n", class, quantile(h, 50), quantile(h, 90), quantile(h, 99),
			quantile(h, 99.9), micros(h.Max()), note)
	}
}

func quantile(h *hdrhistogram.Histogram, q float64) string { return micros(h.ValueAtQuantile(q)) }

func micros(n int64) string {
	return (time.Duration(n) * time.Microsecond).Round(10 * time.Microsecond).String()
}

func (r *Report) printAudit(w io.Writer) {
	printBreaches(w, r.Broken)
	switch {
	case len(r.Broken) > 0:
	case r.audit.done:
		fmt.Fprintf(w, "audit     all applied after another %s; %d users read: every accepted trigger is in the state exactly once, in order\n",
			r.audit.caughtUp.Round(time.Millisecond), r.audit.read)
	default:
		fmt.Fprintln(w, "audit     not done")
	}
}

func printBreaches(w io.Writer, list []Breach) {
	for i, b := range list {
		if i == shownBreaches {
			fmt.Fprintf(w, "BROKEN    … and %d more\n", len(list)-i)
			break
		}
		fmt.Fprintf(w, "BROKEN    %s\n", b)
	}
}
