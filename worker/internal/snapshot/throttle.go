package snapshot

import (
	"context"
	"sync"
	"time"
)

// throttle spaces out bytes evenly. nil does not. Safe for concurrent use.
type throttle struct {
	rate int64 // bytes a second

	mu   sync.Mutex
	free time.Time // when the next bytes may go
}

// wait returns when n bytes may go, and has others wait for as long as those take.
func (t *throttle) wait(ctx context.Context, n int) error {
	if t == nil {
		return ctx.Err()
	}
	t.mu.Lock()
	now := time.Now()
	if t.free.Before(now) {
		t.free = now
	}
	pause := t.free.Sub(now)
	t.free = t.free.Add(time.Duration(float64(n) / float64(t.rate) * float64(time.Second)))
	t.mu.Unlock()
	return sleep(ctx, pause)
}
