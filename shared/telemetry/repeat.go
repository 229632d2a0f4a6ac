package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds on repeated lines.
const (
	DefaultLogRepeat       = 10
	DefaultLogRepeatWindow = 10 * time.Second

	maxKinds = 1024 // kinds of lines that are told from each other
)

// partitionKey is the attribute that tells lines of one message from each other: what goes wrong in one partition must not hide another's.
const partitionKey = "partition"

// kind is what counts as the same line: a level, a message (which are constant here), and a partition.
type kind struct {
	level     slog.Level
	msg       string
	partition string // "" = of none
}

// others are the lines that came when there were maxKinds already.
const others = "lines of too many other messages"

// burst is one kind's lines in the current window.
type burst struct {
	begun  time.Time
	lines  int // written
	left   int // left out since
	last   slog.Handler
	timer  *time.Timer // ends the window; nil unless lines are left out
	inLine bool        // the partition was in the line, not in what the logger had already
}

// repeats is what the handlers of one logger share.
type repeats struct {
	most    int
	window  time.Duration
	leftOut *prometheus.CounterVec

	mu     sync.Mutex
	bursts map[kind]*burst
	swept  time.Time
}

// repeatHandler writes at most so many lines of a kind in a window, and then one that says how many were left out (repeated). It is the net below
// [Trouble]: what is known to go wrong again and again says so itself, with its beginning and its end, and so seldom that it never comes here.
// Debug lines all pass: whoever asks for those wants to see them.
type repeatHandler struct {
	slog.Handler
	all       *repeats
	partition string
}

func newRepeatHandler(h slog.Handler, most int, window time.Duration) *repeatHandler {
	return &repeatHandler{Handler: h, all: &repeats{most: most, window: window, bursts: map[kind]*burst{},
		leftOut: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "triggerd_log_suppressed_lines_total",
			Help: "Lines of the log that were not written because they repeated others, by level. Bad if it grows: see repeated in the log."}, []string{"level"})}}
}

// Handle writes the line, or counts it.
func (h *repeatHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return h.Handler.Handle(ctx, r)
	}
	k, inLine := kind{r.Level, r.Message, h.partition}, false
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == partitionKey {
			k.partition, inLine = a.Value.String(), true
		}
		return !inLine
	})
	if !h.all.take(k, inLine, h.Handler) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// take says whether a line may be written.
func (a *repeats) take(k kind, inLine bool, h slog.Handler) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	k, b := a.burstOf(k, now)
	if now.Sub(b.begun) >= a.window {
		a.tell(k, b)
		*b = burst{begun: now}
	}
	if b.lines < a.most {
		b.lines++
		return true
	}
	b.left++
	b.last, b.inLine = h, inLine
	a.leftOut.WithLabelValues(k.level.String()).Inc()
	if b.timer == nil {
		b.timer = time.AfterFunc(a.window-now.Sub(b.begun), func() { a.end(k, b) })
	}
	return false
}

// burstOf finds the burst of a kind. Those that are over make room when there are too many; else all that come new are one kind. The caller holds mu.
func (a *repeats) burstOf(k kind, now time.Time) (kind, *burst) {
	b := a.bursts[k]
	if b == nil && len(a.bursts) >= maxKinds && now.Sub(a.swept) >= time.Second {
		a.swept = now
		for old, b := range a.bursts {
			if now.Sub(b.begun) >= a.window && b.left == 0 {
				delete(a.bursts, old)
			}
		}
	}
	if b == nil && len(a.bursts) >= maxKinds {
		k = kind{level: k.level, msg: others}
		b = a.bursts[k]
	}
	if b == nil {
		b = &burst{begun: now}
		a.bursts[k] = b
	}
	return k, b
}

// end is called when a window is over in which lines were left out, so that their number is told also if nothing follows.
func (a *repeats) end(k kind, b *burst) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bursts[k] == b && b.left > 0 && time.Since(b.begun) >= a.window {
		a.tell(k, b)
		delete(a.bursts, k)
	}
}

// tell writes how many lines were left out. The caller holds mu.
func (a *repeats) tell(k kind, b *burst) {
	if b.left == 0 {
		return
	}
	b.timer.Stop()
	now := time.Now()
	r := slog.NewRecord(now, k.level, k.msg, 0)
	if b.inLine && k.msg != others {
		r.AddAttrs(slog.String(partitionKey, k.partition))
	}
	r.AddAttrs(slog.Int("repeated", b.left), slog.Duration("within", now.Sub(b.begun).Round(time.Millisecond)))
	b.last.Handle(context.Background(), r) // an output that takes nothing has no other place to say so
	b.left, b.timer = 0, nil
}

// WithAttrs implements slog.Handler.
func (h *repeatHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.Handler = h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == partitionKey {
			with.partition = a.Value.String()
		}
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *repeatHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.Handler = h.Handler.WithGroup(name)
	return &with
}

// ShowRepeats registers the metric of lines that a logger of LogConfig leaves out; of others there is none.
func ShowRepeats(log *slog.Logger, reg prometheus.Registerer) error {
	h, ok := log.Handler().(*repeatHandler)
	if !ok {
		return nil
	}
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		h.all.leftOut.WithLabelValues(level.String())
	}
	return reg.Register(h.all.leftOut)
}

// FlushRepeats tells what a logger of LogConfig has left out so far: a process calls it last.
func FlushRepeats(log *slog.Logger) {
	h, ok := log.Handler().(*repeatHandler)
	if !ok {
		return
	}
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	for k, b := range h.all.bursts {
		h.all.tell(k, b)
	}
	clear(h.all.bursts)
}
