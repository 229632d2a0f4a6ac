package httpapi

import "time"

// logTime is the least time that the log took for a record lately. It is the log's own: what others took longer they waited for each other, for the processors and for the batch before.
type logTime struct {
	begun     time.Time // the present one of two periods
	now, last time.Duration
}

// logPeriod is how long a log that has become slower may look as fast as before; at most twice that.
const logPeriod = 5 * time.Second

func (l *logTime) took(took time.Duration, at time.Time) {
	switch {
	case l.begun.IsZero():
		l.begun, l.now, l.last = at, took, took
	case at.Sub(l.begun) > logPeriod:
		l.begun, l.now, l.last = at, took, l.now
	default:
		l.now = min(l.now, took)
	}
}

func (l *logTime) least() time.Duration { return min(l.now, l.last) }
