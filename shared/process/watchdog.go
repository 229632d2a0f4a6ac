package process

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Bounds of watching.
const (
	watchdogLooks = 12              // within -watchdog-after: a process that was frozen misses them all, and is charged with one
	watchdogEvery = 5 * time.Second // between looks, if nothing wants them closer
	maxStacks     = 64 << 10        // bytes of what all goroutines do, in the line that says that a loop hangs
)

// watchdog looks whether the process's loops turn, and tells the service manager what becomes of the process. While one hangs it gives no sign of
// life any more, and /livez answers 503: systemd and a kubelet draw the same conclusion.
type watchdog struct {
	health  *lifecycle.Health
	manager *lifecycle.Manager // nil: none
	log     *slog.Logger
	after   time.Duration // 0: no loop is judged
	started atomic.Bool

	mute  telemetry.Trouble // with telling
	hangs bool              // as of the last look
}

// watch makes the watchdog of a process and shows what it sees.
func watch(env *Env, manager *lifecycle.Manager, after time.Duration) (*watchdog, error) {
	err := env.Registry.Register(&loops{env.Health})
	return &watchdog{health: env.Health, manager: manager, log: env.Logger, after: after}, err
}

// part runs from first to last, so that what comes before the start and after the end is watched as well.
func (w *watchdog) part() lifecycle.Part {
	return lifecycle.Part{Name: "watchdog", Run: func(ctx context.Context, ready func()) error {
		every := w.every()
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		ready()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticks.C:
				w.look(every)
			}
		}
	}}
}

// every is the time between looks: the manager wants two signs of life in its time.
func (w *watchdog) every() time.Duration {
	every := watchdogEvery
	if w.after > 0 {
		every = w.after / watchdogLooks
	}
	if within := w.manager.Watchdog(); within > 0 {
		every = min(every, within/2)
	}
	return max(every, time.Millisecond)
}

func (w *watchdog) look(step time.Duration) {
	hung := w.health.Look(step, w.after)
	switch {
	case len(hung) == 0:
		w.alive()
	case !w.hangs:
		text := telemetry.DescribeStalls(hung)
		w.log.Error("loop hangs, this process should be started anew", "loops", text, "goroutines", stacks())
		w.tell("STATUS=hangs: " + text)
	}
	if w.hangs && len(hung) == 0 {
		w.log.Warn("loop turns again")
	}
	w.hangs = len(hung) > 0
}

// alive is the sign of life. A start that waits for its broker, or catches up, takes as long as it takes: each sign extends the time that it is given.
func (w *watchdog) alive() {
	within := w.manager.Watchdog()
	switch {
	case within == 0:
	case w.started.Load():
		w.tell("WATCHDOG=1")
	default:
		w.tell("WATCHDOG=1", fmt.Sprint("EXTEND_TIMEOUT_USEC=", within.Microseconds()))
	}
}

// ready tells that all parts are.
func (w *watchdog) ready() {
	w.started.Store(true)
	w.tell("READY=1", "STATUS=ready")
}

// tellsOfEnd tells that the process stops, when ctx ends; ended is called when it does so anyway.
func (w *watchdog) tellsOfEnd(ctx context.Context) (ended func()) {
	told := make(chan struct{})
	stopping := func() { defer close(told); w.tell("STOPPING=1", "STATUS=stopping") }
	unhook := context.AfterFunc(ctx, stopping)
	return func() {
		if unhook() {
			stopping()
		}
		<-told
	}
}

// tell does not fail: a process works as well without a manager that hears it, and one that only inherited the name of a socket has none.
func (w *watchdog) tell(assignments ...string) {
	if err := w.manager.Tell(assignments...); err != nil {
		w.mute.Again(w.log, slog.LevelWarn, "service manager does not hear this process", "cause", err)
		return
	}
	w.mute.Over(w.log, "service manager hears this process again")
}

// stacks is what all goroutines do, those that do the same together. A kubelet does not ask for it before it kills.
func stacks() string {
	var text strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&text, 1); err != nil {
		return err.Error()
	}
	return text.String()[:min(text.Len(), maxStacks)]
}

// loops shows for how long each loop has not turned.
type loops struct{ health *lifecycle.Health }

var descStalled = prometheus.NewDesc("triggerd_process_loop_stalled_seconds",
	"For how long a loop of this process has neither turned nor waited. Bad near -watchdog-after: the process is then killed by its watchdog or liveness probe.", []string{"loop"}, nil)

// Describe implements prometheus.Collector.
func (l *loops) Describe(ch chan<- *prometheus.Desc) { ch <- descStalled }

// Collect implements prometheus.Collector.
func (l *loops) Collect(ch chan<- prometheus.Metric) {
	for _, s := range l.health.Pulses() {
		ch <- prometheus.MustNewConstMetric(descStalled, prometheus.GaugeValue, s.Held.Seconds(), s.Loop)
	}
}
