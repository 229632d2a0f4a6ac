// Package lifecycle runs a program's parts in order and stops them in the reverse order, and knows whether they are healthy.
//
// # Usage
//
//	health := lifecycle.NewHealth()
//	err := lifecycle.Run(ctx,
//		lifecycle.Part{Name: "broker", Run: broker.Run},
//		lifecycle.Part{Name: "worker", Run: worker.Run},
//		lifecycle.Readiness(health),
//	)
//
// # Ordering
//
// A part starts when the one before it has called ready, and is told to stop when the one after it has returned. So whatever a part
// needs goes before it, and what has to happen first when the program stops goes last: see [Readiness].
//
// # Failure
//
// A part that returns before it was told to, with an error or without, ends the program: the others are stopped in their order.
// Nobody waits for a part that does not return; bounding its own drain is each part's duty. Panics are not recovered:
// a program that may be killed at any moment is safest when it ends at once.
//
// # Concurrency
//
// A [Health] is safe for concurrent use. Each call of Run is on its own.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// ErrEnded: a part returned nil although nobody had told it to stop.
var ErrEnded = errors.New("ended without being told to")

// Part is one part of a program. Run blocks until ctx ends (then it drains and returns nil) or it fails. It calls ready when
// the next part may start; calling it again does nothing.
type Part struct {
	Name string
	Run  func(ctx context.Context, ready func()) error
}

// Run starts the parts in order (each after the one before called ready), waits until ctx ends or a part returns, and stops
// them in reverse order, one after the other. It returns when all have returned: nil, or the first failure, joined with those that came
// while stopping.
func Run(ctx context.Context, parts ...Part) error {
	r := runner{ended: make(chan struct{})}
	r.startAll(ctx, parts)
	return r.stopAll()
}

// runner is one call of Run.
type runner struct {
	running []*running
	ended   chan struct{} // closed when any part has returned
	once    sync.Once
	mu      sync.Mutex
	faults  []error // in the order in which they came
}

// running is a part that was started.
type running struct {
	part Part
	stop context.CancelFunc
	told context.Context // ends when the part is told to stop
	done chan struct{}
}

// startAll returns when all parts run and it is time to stop, or earlier if that time comes before.
func (r *runner) startAll(ctx context.Context, parts []Part) {
	for _, p := range parts {
		if !r.proceed(ctx, r.start(ctx, p)) {
			return
		}
	}
	r.proceed(ctx, nil)
}

// proceed waits for ready; false if the program is to stop instead. A nil channel is never ready.
func (r *runner) proceed(ctx context.Context, ready <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-r.ended:
		return false
	case <-ready:
		return ctx.Err() == nil
	}
}

// start runs p in a goroutine of its own, in a context that only stopAll ends: the end of ctx must not reach all parts at once.
func (r *runner) start(ctx context.Context, p Part) <-chan struct{} {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	started := &running{part: p, stop: stop, told: own, done: make(chan struct{})}
	r.running = append(r.running, started)
	ready := make(chan struct{})
	go func() {
		defer close(started.done)
		r.note(started, p.Run(own, sync.OnceFunc(func() { close(ready) })))
	}()
	return ready
}

// note keeps what a part returned.
func (r *runner) note(p *running, err error) {
	if err == nil && p.told.Err() == nil {
		err = ErrEnded
	}
	if err != nil {
		if !strings.HasPrefix(err.Error(), p.part.Name+": ") { // a part that runs parts of its own has one of its name
			err = fmt.Errorf("%s: %w", p.part.Name, err)
		}
		r.mu.Lock()
		r.faults = append(r.faults, err)
		r.mu.Unlock()
	}
	r.once.Do(func() { close(r.ended) })
}

// stopAll stops what runs, last first.
func (r *runner) stopAll() error {
	for i := len(r.running) - 1; i >= 0; i-- {
		r.running[i].stop()
		<-r.running[i].done
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) == 1 {
		return r.faults[0]
	}
	return errors.Join(r.faults...)
}
