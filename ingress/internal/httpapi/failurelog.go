package httpapi

import (
	"log/slog"

	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/shared/tracing"
)

// failureLog writes what is our fault, not the caller's. While the broker is away every request fails for the same reason; the log is no
// place to count them, so each kind of failure is one trouble. That requests succeed again is said by whom they failed for, as the appender.
type failureLog struct {
	log   *slog.Logger
	kinds [len(codes)]telemetry.Trouble
}

func newFailureLog(log *slog.Logger) *failureLog {
	l := &failureLog{log: log}
	for i := range l.kinds {
		l.kinds[i].Quiet = telemetry.Soon
	}
	return l
}

// report logs a failure, or counts it. Neither tokens nor values are in it. The trace is that of the one request that is logged.
func (l *failureLog) report(f *failure, route string, trace tracing.Context) {
	l.kinds[f.code].Again(l.log, slog.LevelError, "request failed", trace.Attrs("route", route, "code", codes[f.code].word, "error", f.cause)...)
}
