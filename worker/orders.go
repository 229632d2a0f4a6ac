package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/control"
	"github.com/triggerd/triggerd/worker/internal/partition"
	"github.com/triggerd/triggerd/worker/internal/trail"
)

// ordered does what an operator has said of partition p, and says whether that is all that is to be done with it.
func (s *supervisor) ordered(p int, h *held) bool {
	order := s.orders.Of(p)
	switch {
	case !s.orders.Known():
		return h == nil
	case order.Paused():
		if h != nil && !h.stopped && !h.ended() {
			if h.released.IsZero() {
				h.released = s.deps.Now()
			}
			h.cause, h.stopped = causePaused, true
			h.stop()
		}
		return true
	case h != nil && h.State() == partition.Halted && h.ended() && order.Revision > h.word:
		s.again(p, "resumed by "+order.Word.Who)
		return true
	case h != nil && h.State() == partition.Halted && h.ended() && s.mine(p) && !h.led:
		s.again(p, "halted as a standby, owned now") // for what only an owner emits before it halts
		return true
	}
	return false
}

// again forgets a partition that has halted, so that it is started anew.
func (s *supervisor) again(p int, cause string) {
	s.deps.Logger.Info("halted partition is tried again", "partition", p, "cause", cause)
	s.mu.Lock()
	delete(s.partitions, p)
	s.mu.Unlock()
	poke(s.events)
}

// allowed waits until it is certain that partition p may be started: what the former run left is reported, and the leader has been asked what holds. It
// returns when ctx ends as well. It waits a pause out, too.
func (s *supervisor) allowed(ctx context.Context, p int) {
	select {
	case <-s.told:
	case <-ctx.Done():
		return
	}
	s.orders.AwaitStart(ctx, p) // the supervisor hears of a pause as well, and of one that is over already never
}

// guard is partition p's.
func (w *Worker) guard(p int) partition.Guard { return &guard{w: w, p: p} }

// guard leaves a breadcrumb for each message while it is applied, and stops at messages in quarantine.
type guard struct {
	w *Worker
	p int
}

// suspect is a position.
type suspect struct {
	partition int
	seq       uint64
}

// maxPassed bounds the acquittals that wait for the broker; what does not fit stays under suspicion until it is passed again.
const maxPassed = 64

// Before implements partition.Guard.
func (g *guard) Before(seq uint64) error {
	if order := g.w.orders.Of(g.p); len(order.Suspects) != 0 {
		if s, ok := order.Suspect(seq); ok && s.Guilty() {
			return errors.New(s.String())
		}
	}
	g.w.trail.Mark(g.p, seq)
	if g.w.meets != nil {
		g.w.meets(g.p, seq)
	}
	return nil
}

// After implements partition.Guard.
func (g *guard) After(seq uint64) {
	g.w.trail.Clear(g.p)
	if order := g.w.orders.Of(g.p); len(order.Suspects) != 0 {
		if s, ok := order.Suspect(seq); ok && !s.Guilty() {
			select {
			case g.w.passed <- suspect{g.p, seq}:
			default:
			}
		}
	}
}

// testify reports what the former run left, begins this one's trail, and acquits what was passed, until ctx ends.
func (w *Worker) testify(ctx context.Context, home string) {
	for _, left := range w.trail.Left() {
		w.report(ctx, home, left)
	}
	if ctx.Err() != nil {
		return // the next run finds the same
	}
	crash := w.trail.Crash()
	kept, err := w.trail.Begin(w.id())
	if err != nil { // nothing is known of this run if it crashes, but it runs
		w.deps.Logger.Error("trail was not begun", "cause", err)
	}
	if crash != "" {
		w.deps.Logger.Error("the former run crashed", "cause", crash, "kept", kept)
	}
	close(w.told)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-w.passed:
			if err := control.Acquit(ctx, w.deps.Broker, s.partition, s.seq); err != nil && ctx.Err() == nil {
				w.deps.Logger.Warn("message was not acquitted", "partition", s.partition, "seq", s.seq, "cause", err)
			}
		}
	}
}

// Pauses between attempts to report.
const (
	minReportPause = 50 * time.Millisecond
	maxReportPause = time.Second
)

// report tells what the former run left, until somebody knows or ctx ends.
func (w *Worker) report(ctx context.Context, home string, left trail.Left) {
	end := control.End{Home: home, Run: left.Run, Kind: control.KindKilled, At: left.At, Text: left.Text}
	if left.Crashed {
		end.Kind = control.KindCrash
	}
	var trouble telemetry.Trouble
	for pause := minReportPause; ctx.Err() == nil; pause = min(2*pause, maxReportPause) {
		s, err := control.Report(ctx, w.deps.Broker, left.Partition, left.Seq, end)
		if err == nil {
			w.deps.Logger.Warn("the former run ended while it applied a message", "partition", left.Partition, "seq", left.Seq, "kind", end.Kind,
				"text", left.Text, "quarantine", s.Guilty())
			return
		}
		trouble.Again(w.deps.Logger, slog.LevelWarn, "end of the former run was not reported, trying again", "partition", left.Partition, "seq", left.Seq, "cause", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// withPaused adds the partitions that are paused to a page.
func (w *Worker) withPaused(list []partition.Status) []partition.Status {
	for p := range w.deps.Broker.Partitions() {
		order := w.orders.Of(p)
		here := slices.ContainsFunc(list, func(s partition.Status) bool { return s.Partition == p })
		if order.Paused() && !here {
			list = append(list, partition.Status{Partition: p, State: causePaused, Since: order.Word.At.Format(time.RFC3339Nano), Cause: order.PausedBy()})
		}
	}
	slices.SortFunc(list, func(a, b partition.Status) int { return cmp.Compare(a.Partition, b.Partition) })
	return list
}

// newOrderGauges shows what holds for each partition.
func newOrderGauges(reg prometheus.Registerer, w *Worker) {
	f := promauto.With(reg)
	for p := range w.deps.Broker.Partitions() {
		gauge := func(name, help string, is func(*control.Order) bool) {
			f.NewGaugeFunc(prometheus.GaugeOpts{Name: "triggerd_worker_" + name, Help: help, ConstLabels: prometheus.Labels{"partition": fmt.Sprint(p)}},
				func() float64 {
					if is(w.orders.Of(p)) {
						return 1
					}
					return 0
				})
		}
		gauge("paused", "1 if an operator has paused the partition: triggers are accepted and wait. Bad if nobody remembers why: worker inspect says who and why, worker resume ends it.", (*control.Order).Paused)
		gauge("quarantined", "1 if a message of the partition has ended processes and is not applied until an operator resumes. Bad at once: worker inspect says which message.",
			func(o *control.Order) bool { _, yes := o.Quarantined(); return yes })
	}
}
