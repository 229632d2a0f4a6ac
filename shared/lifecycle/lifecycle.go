// Package lifecycle runs a program's parts in order and stops them in the reverse order, and knows whether they are healthy.
package lifecycle

import "context"

// Health is a set of named checks. Safe for concurrent use.
type Health struct{}

func NewHealth() *Health { panic("skeleton") }

// Register adds a readiness check; check is called on every /readyz and must be quick and safe for concurrent use.
// detail is shown with ?verbose.
func (h *Health) Register(name string, check func() (detail string, err error)) { panic("skeleton") }

// Drain makes readiness fail from now on.
func (h *Health) Drain() { panic("skeleton") }

// Part is one part of a program. Run blocks until ctx ends (then it drains and returns nil) or it fails.
type Part struct {
	Name string
	Run  func(ctx context.Context, ready func()) error
}

// Run starts the parts in order (each after the one before called ready), waits until ctx ends or a part returns, and stops
// them in reverse order, one after the other. The first failure is returned.
func Run(ctx context.Context, parts ...Part) error { panic("skeleton") }
