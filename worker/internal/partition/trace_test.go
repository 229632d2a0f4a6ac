package partition

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/tracing"
	"github.com/triggerd/triggerd/shared/tracing/tracingtest"
)

// tracer exports to a collector of this test; spans ends that and returns how many there are of each name, by trace.
func tracer(t *testing.T) (tr *tracing.Tracer, spans func() map[string]int) {
	t.Helper()
	collector, err := tracingtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { collector.Close() })
	cfg := tracing.Config{Endpoint: collector.URL, Queue: 100}
	if tr, err = cfg.Tracer("test", prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx, func() {}) }()
	t.Cleanup(cancel)
	return tr, func() map[string]int {
		cancel()
		if err := <-ended; err != nil || collector.Fault() != "" {
			t.Error(err, collector.Fault())
		}
		counts := map[string]int{}
		for _, s := range collector.Spans() {
			key := s.Trace[:1] + " " + s.Name
			if s.Attrs["triggerd.replayed"] == "true" {
				key += " replayed"
			}
			counts[key]++
		}
		return counts
	}
}

// An event that was emitted has its spans; neither a replay after a crash nor a standby adds to them. One that was applied and not emitted is told
// again, as such.
func TestSpansOfAReplayAndOfAStandby(t *testing.T) {
	tr, spans := tracer(t)
	with := func(c *Config, d *Deps) { d.Tracer, c.CheckpointEvery = tr, time.Hour }
	r := newRig(t)
	file := r.file()
	r.append(users(1)...)
	standby := r.standby(r.file(), with)
	traced := func(trace string) uint64 {
		rec := trigger("user-0", 1, 0)
		rec.Trace = fmt.Appendf(nil, "00-%s0000000000000000000000000000000-00000000000000aa-01", trace)
		return r.append(rec)
	}
	x := r.start(file, with, crashAt(StepEmitting, 2))
	natstest.Eventually(t, func() bool { return x.State() == Serving }, "the owner to have applied all")
	x.reach(traced("a"))
	traced("b")
	if err := x.wait(); err == nil {
		t.Fatal("no crash")
	}
	x = r.start(file, with)
	x.reach(traced("c"))
	natstest.Eventually(t, func() bool { return standby.Status().Applied >= r.last() }, "the standby to apply all")
	for _, running := range []*run{x, standby} {
		if err := running.drain(); err != nil {
			t.Error(err)
		}
	}
	got := spans()
	emitted := got["b emit events.{partition}"] + got["c emit events.{partition}"] // together, perhaps
	delete(got, "b emit events.{partition}")
	delete(got, "c emit events.{partition}")
	later := got["c apply triggers.{partition}"] + got["c apply triggers.{partition} replayed"] // it may come before replaying is over
	delete(got, "c apply triggers.{partition}")
	delete(got, "c apply triggers.{partition} replayed")
	want := map[string]int{"a apply triggers.{partition}": 1, "a emit events.{partition}": 1, "b apply triggers.{partition}": 1, "b apply triggers.{partition} replayed": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) || emitted < 1 || emitted > 2 || later != 1 {
		t.Errorf("spans %v (and %d later ones, %d of c), want %v", got, emitted, later, want)
	}
}
