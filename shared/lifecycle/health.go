package lifecycle

import (
	"context"
	"errors"
	"sync"
)

// ErrDraining is the answer of a Health that drains.
var ErrDraining = errors.New("draining")

// Health is a set of named checks, which say whether the program is ready, and of loops, which say whether it lives. Safe for concurrent use. A nil
// *Health takes checks and loops and forgets them.
type Health struct {
	mu       sync.RWMutex
	checks   []check
	draining bool
	pulses   []*Pulse
	hung     []Stall // at the last look
}

type check struct {
	name string
	run  func() (string, error)
}

// Status is what one check said.
type Status struct {
	Name   string
	Detail string // for a person; may be empty
	Err    error  // nil: healthy
}

// NewHealth has no checks, and so is ready.
func NewHealth() *Health { return &Health{} }

// Register adds a readiness check; check is called on every /readyz and must be quick and safe for concurrent use.
// detail is shown with ?verbose.
func (h *Health) Register(name string, run func() (detail string, err error)) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name: name, run: run})
}

// Drain makes readiness fail from now on.
func (h *Health) Drain() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Statuses runs all checks, in the order in which they were registered; ready is true if none failed and Drain was not called. The
// checks run one after the other in the caller's goroutine.
func (h *Health) Statuses() (statuses []Status, ready bool) {
	checks, draining := h.snapshot()
	ready = !draining
	if draining {
		statuses = append(statuses, Status{Name: "lifecycle", Err: ErrDraining})
	}
	for _, c := range checks {
		detail, err := c.run()
		ready = ready && err == nil
		statuses = append(statuses, Status{Name: c.name, Detail: detail, Err: err})
	}
	return statuses, ready
}

// snapshot lets checks run outside of the lock: one of them may be slow, or register another.
func (h *Health) snapshot() ([]check, bool) {
	if h == nil {
		return nil, false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.checks[:len(h.checks):len(h.checks)], h.draining
}

// Readiness is the last part of a program: being the first that is told to stop, it makes h unready before anything else stops.
func Readiness(h *Health) Part {
	return Part{Name: "readiness", Run: func(ctx context.Context, ready func()) error {
		ready()
		<-ctx.Done()
		h.Drain()
		return nil
	}}
}
