package snapshot

import (
	"context"
	"io"
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

// duty keeps one goroutine's work to a share of a processor, so that what else needs it hardly notices: after every piece of work it rests for as long as
// that share asks for. On a busy machine work takes longer, and so the rests do, up to what maxPiece asks for. nil does not rest.
type duty struct {
	ctx   context.Context
	share float64
	hurry func() bool // no rests while it is true

	since time.Time // the last rest, or the last wait for others
	owed  time.Duration
}

const (
	// minRest is the shortest that is worth it.
	minRest = 2 * time.Millisecond
	// maxPiece is the most that counts as work between two rests, where a piece takes some milliseconds. What took longer waited, mostly for a disk, and would be rested for
	// several times over, while other partitions wait for their turn.
	maxPiece = 50 * time.Millisecond
)

func newDuty(ctx context.Context, share float64, hurry func() bool) *duty {
	return &duty{ctx: ctx, share: share, hurry: hurry, since: time.Now()}
}

// rest is called between pieces of work.
func (d *duty) rest() error {
	if d == nil {
		return nil
	}
	d.worked()
	if d.owed < minRest {
		return d.ctx.Err()
	}
	err := sleep(d.ctx, d.owed)
	d.owed, d.since = 0, time.Now()
	return err
}

// worked notes a piece of work, and what rest is owed for it.
func (d *duty) worked() {
	d.owed += time.Duration(float64(min(time.Since(d.since), maxPiece)) * (1 - d.share) / d.share)
	d.since = time.Now()
	if d.hurry != nil && d.hurry() {
		d.owed = 0
	}
}

// waited says that what went on since begun was others' work.
func (d *duty) waited(begun time.Time) {
	if d != nil {
		d.since = d.since.Add(time.Since(begun))
	}
}

// resting reads with rests in between.
type resting struct {
	r io.Reader
	d *duty
}

func (r *resting) Read(p []byte) (int, error) {
	if err := r.d.rest(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
