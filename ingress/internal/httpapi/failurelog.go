package httpapi

import (
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often one kind of failure is logged. While the broker is away every request fails for the same
// reason; the log is no place to count them.
const logEvery = time.Second

// failureLog writes what is our fault, not the caller's.
type failureLog struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds [len(codes)]struct {
		last       time.Time
		suppressed int
	}
}

func newFailureLog(log *slog.Logger) *failureLog { return &failureLog{log: log} }

// report logs a failure, or counts it if its kind was logged within logEvery. Neither tokens nor values are in it.
func (l *failureLog) report(f *failure, route string) {
	if suppressed, ok := l.turn(f.code, time.Now()); ok {
		l.log.Error("request failed", "route", route, "code", codes[f.code].word, "error", f.cause, "suppressed", suppressed)
	}
}

func (l *failureLog) turn(c code, now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &l.kinds[c]
	if now.Sub(k.last) < logEvery {
		k.suppressed++
		return 0, false
	}
	suppressed, k.suppressed, k.last = k.suppressed, 0, now
	return suppressed, true
}
