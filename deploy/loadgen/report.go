package loadgen

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/schollz/progressbar/v3"
)

const (
	shownBreaches = 10
	progressEvery = 200 * time.Millisecond
)

// Report is what a run showed.
type Report struct {
	Config   Config
	Elapsed  time.Duration
	Accepted uint64
	Unknown  uint64
	Refused  map[string]uint64 // by status and code
	Latency  *hdrhistogram.Histogram
	Idle     int // connections that ran out of users
	Broken   []string
	audit    audit
}

// Report sums up what all connections saw, and the audit.
func (r *Session) Report() *Report {
	rep := &Report{Config: r.cfg, Elapsed: r.elapsed, Refused: map[string]uint64{}, audit: r.audit,
		Latency: hdrhistogram.New(histogramMin, histogramMax, histogramDigits)}
	for _, s := range r.senders {
		rep.Accepted += s.tally.accepted
		rep.Unknown += s.tally.unknown
		rep.Latency.Merge(s.tally.latency)
		rep.Broken = append(rep.Broken, s.tally.broken...)
		for code, n := range s.tally.refused {
			rep.Refused[code] += n
		}
		if s.idle {
			rep.Idle++
		}
	}
	rep.Broken = append(rep.Broken, r.audit.broken...)
	return rep
}

// Rate is accepted triggers a second.
func (r *Report) Rate() float64 { return float64(r.Accepted) / r.Elapsed.Seconds() }

// InState is how many triggers are in the state, by the audit: all accepted ones, and those with an unknown outcome that were stored.
func (r *Report) InState() uint64 { return r.Accepted + uint64(r.audit.stored) + uint64(r.audit.lost) }

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) {
	kind := "closed loop"
	if r.Config.Rate > 0 {
		kind = fmt.Sprintf("open loop of %g/s", r.Config.Rate)
	}
	if r.Config.Batch > 1 {
		kind += fmt.Sprintf(", batches of %d,", r.Config.Batch)
	}
	fmt.Fprintf(w, "load      %s over %d connections for %.1fs, %d users, %d bytes of payload\n",
		kind, r.Config.Connections, r.Elapsed.Seconds(), r.Config.Users, r.Config.Payload)
	fmt.Fprintf(w, "accepted  %d, %.0f/s\n", r.Accepted, r.Rate())
	for _, code := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "refused   %d × %s\n", r.Refused[code], code)
	}
	if r.Unknown > 0 {
		fmt.Fprintf(w, "unknown   %d, of which %d turned out to be stored\n", r.Unknown, r.audit.stored+r.audit.lost)
	}
	if r.Idle > 0 {
		fmt.Fprintf(w, "idle      %d connections ran out of users: each had an unknown outcome\n", r.Idle)
	}
	fmt.Fprintf(w, "latency   p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n", r.quantile(50), r.quantile(90), r.quantile(99),
		r.quantile(99.9), micros(r.Latency.Max()))
	r.printAudit(w)
}

func (r *Report) quantile(q float64) string { return micros(r.Latency.ValueAtQuantile(q)) }

func micros(n int64) string {
	return (time.Duration(n) * time.Microsecond).Round(10 * time.Microsecond).String()
}

func (r *Report) printAudit(w io.Writer) {
	for i, text := range r.Broken {
		if i == shownBreaches {
			fmt.Fprintf(w, "BROKEN    … and %d more\n", len(r.Broken)-i)
			break
		}
		fmt.Fprintf(w, "BROKEN    %s\n", text)
	}
	switch {
	case len(r.Broken) > 0:
	case r.audit.done:
		fmt.Fprintf(w, "audit     all applied after another %s; %d users read: every accepted trigger is in the state exactly once, in order\n",
			r.audit.caughtUp.Round(time.Millisecond), r.audit.users)
	default:
		fmt.Fprintln(w, "audit     not done")
	}
}

// progress shows a bar on a terminal until the returned function is called.
func (r *Session) progress(ctx context.Context) (stop func()) {
	if info, err := os.Stderr.Stat(); r.cfg.Quiet || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	bar := progressbar.NewOptions64(r.cfg.Duration.Milliseconds(), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	begun, ended := time.Now(), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		for pause(ctx, progressEvery) {
			bar.Describe(fmt.Sprintf("%9d accepted", r.accepted.Load()))
			_ = bar.Set64(min(time.Since(begun), r.cfg.Duration).Milliseconds())
		}
		_ = bar.Finish()
	}()
	return func() { cancel(); <-ended }
}
