package partition

import (
	"context"
	"time"
)

// backoff counts out growing pauses. The zero value of next means: from the start.
type backoff struct {
	min, max time.Duration
	next     time.Duration
}

func (b *backoff) reset() { b.next = 0 }

// pause is the pause that is due; the next one is twice as long, up to max.
func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	return d
}

// wait pauses, or returns at once when ctx ends.
func (b *backoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.pause())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
