package partition

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// patient lets a partition doubt for longer than a test lasts, and keeps what it logs.
func patient(said *lines) func(*Config, *Deps) {
	return func(c *Config, d *Deps) {
		c.HaltAfter = time.Hour
		d.Logger = slog.New(slog.NewTextHandler(said, nil))
	}
}

// lines is a log. Safe for concurrent use.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(line))
	return len(line), nil
}

func (l *lines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// lapse is what a broker may say for a moment.
type lapse struct {
	stream  string
	early   bool   // it ends before what was applied or emitted; else it is not there
	says    string // how readiness shows it
	running bool   // the partition serves when it begins; else it starts then
}

// begin lets the broker say it; end takes it back.
func (l lapse) begin(r *rig, early natstest.Backup) (end func()) {
	r.t.Helper()
	whole := natstest.TakeBackup(r.t, r.broker.Conn, l.stream)
	drop := func() {
		if err := r.broker.JS.DeleteStream(r.ctx(), l.stream); err != nil {
			r.t.Fatal(err)
		}
	}
	drop()
	if l.early {
		early.Restore(r.t, r.broker.Conn)
	}
	return func() {
		if l.early {
			drop()
		}
		whole.Restore(r.t, r.broker.Conn)
	}
}

// asked waits until the broker was asked n times more what the log is.
func (r *rig) asked(n int) {
	r.t.Helper()
	sub, err := r.srv.Connect().SubscribeSync("$JS.API.STREAM.INFO." + broker.TriggersStream(0))
	if err != nil {
		r.t.Fatal(err)
	}
	for range n {
		if _, err := sub.NextMsg(natstest.Patience); err != nil {
			r.t.Fatal(err)
		}
	}
}

// What a broker says for a moment, as one that has just started or is about to elect does, halts nobody: it is asked again, nothing is applied or
// emitted meanwhile, readiness shows it, the log says it once, and when it is over all goes on by itself.
func TestMomentaryFaultsDoNotHalt(t *testing.T) {
	for name, l := range map[string]lapse{
		"log missing":              {stream: broker.TriggersStream(0), says: "log is missing", running: true},
		"log missing at the start": {stream: broker.TriggersStream(0), says: "log is missing"},
		"log ends early":           {stream: broker.TriggersStream(0), early: true, says: "lost its tail", running: true},
		"log ends early at start":  {stream: broker.TriggersStream(0), early: true, says: "lost its tail"},
		"events missing":           {stream: broker.EventsStream(0), says: "log is missing"},
		"events end early":         {stream: broker.EventsStream(0), early: true, says: "lost events"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, said := newRig(t), &lines{}
			r.append(users(2)...)
			file := r.file()
			x := r.start(file, patient(said))
			x.reach(r.append(trigger("user-0", 1, 0)))
			early := natstest.TakeBackup(t, r.broker.Conn, l.stream)
			applied := r.append(trigger("user-0", 2, 0))
			x.reach(applied)
			if !l.running {
				if err := x.drain(); err != nil {
					t.Fatal(err)
				}
			}
			end := l.begin(r, early)
			if !l.running {
				x = r.start(file, patient(said))
			}
			natstest.Eventually(t, func() bool { _, err := x.Check(); return err != nil && strings.Contains(err.Error(), l.says) }, "it shows what is wrong")
			r.asked(2 * confirmations)
			if s := x.Status(); s.State == "halted" || s.Applied > applied {
				t.Errorf("in doubt it is %+v", s)
			}
			end()
			natstest.Eventually(t, func() bool { _, err := x.Check(); return err == nil }, "it is well again")
			x.reach(r.append(trigger("user-1", 3, 0)))
			if n := said.count("is in doubt about its log and"); n != 1 {
				t.Errorf("it said %d times that it is in doubt", n)
			}
			if n := said.count("is not in doubt about its log any more"); n != 1 {
				t.Errorf("it said %d times that it is not any more", n)
			}
			if d := cmp.Diff(r.reference(), r.emitted()); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
		})
	}
}

// A fault counts for as long as it is found, not for as long as the process was frozen in between.
func TestDoubtCountsWhatIsFound(t *testing.T) {
	said := &lines{}
	p := New(Config{Path: "x", HaltAfter: 10 * maxDoubtStep}, Deps{Logger: slog.New(slog.NewTextHandler(said, nil)), Broker: &broker.Broker{}})
	d, f := doubt{p: p}, &foreign{what: "x"}
	for range 9 {
		if err := d.found(f); err != nil {
			t.Fatalf("halts after %d times, %v", d.times, d.held)
		}
		d.last = d.last.Add(-time.Hour) // it was frozen
	}
	for range 2 {
		_ = d.found(f)
		d.last = d.last.Add(-time.Hour)
	}
	if err := d.found(f); err == nil {
		t.Errorf("does not halt after %v", d.held)
	}
	d.over()
	if err := d.found(f); err != nil {
		t.Error("what was over counts")
	}
	trimmed := doubt{p: p}
	for n := range confirmations {
		if err := trimmed.found(&foreign{what: "x", trimmed: true}); (err != nil) != (n == confirmations-1) {
			t.Errorf("what is trimmed, time %d: %v", n+1, err)
		}
	}
}

// The end of a partition that halts is told once, with what to do, and counted, also if it never served.
func TestHaltIsToldAndCounted(t *testing.T) {
	for _, served := range []bool{false, true} {
		r, said, metrics := newRig(t), &lines{}, NewMetrics(nil)
		r.append(users(1)...)
		file := r.file()
		listen := func(_ *Config, d *Deps) {
			d.Logger, d.Metrics = slog.New(slog.NewTextHandler(said, nil)), metrics
		}
		x := r.start(file, listen)
		x.reach(r.append(trigger("user-0", 1, 0)))
		if !served {
			if err := x.drain(); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.broker.JS.DeleteStream(r.ctx(), broker.TriggersStream(0)); err != nil {
			t.Fatal(err)
		}
		if !served {
			x = r.start(file, listen)
		}
		wantHalt(t, x.wait(), "log is missing")
		if n := said.count("state=halted"); n != 1 {
			t.Errorf("served %t: %d lines say that it halted", served, n)
		}
		for _, part := range []string{"level=ERROR", "log is missing", "kept: ", "to do: "} {
			if said.count(part) == 0 {
				t.Errorf("served %t: nothing says %q", served, part)
			}
		}
		if n := testutil.ToFloat64(metrics.halts.WithLabelValues("0")); n != 1 {
			t.Errorf("served %t: %v halts", served, n)
		}
	}
}
