// Package standalone is all of triggerd in one process: an embedded nats-server, a worker that owns every partition, and an ingress. It
// adds nothing to what they do; as separate processes they are the same packages, with a broker elsewhere.
//
// # Usage
//
//	s := standalone.New(cfg, standalone.Deps{Logger: log, Stdout: os.Stdout})
//	err := s.Run(ctx)
//
// # Ordering
//
// The data directory is locked first and released last. In between: admin port, broker, worker, ingress. The ingress
// serves as soon as the broker does, while the worker still catches up, because accepting depends on the broker alone; the line `ready http=… admin=…`
// appears on stdout when the worker has caught up too. Stopping turns /readyz to 503, closes the public port and answers what is in hand,
// emits and checkpoints what was applied, and stops the broker.
//
// # Failure
//
// An accepted trigger is on disk before it is answered, so the process may be killed at any moment: the next start has
// everything. A directory that another process uses is refused, and the error names that process.
//
// # Files
//
// <data-dir>/nats is the broker's, <data-dir>/worker holds a file for each partition, <data-dir>/keys the signing key and its JWKS.
//
// # Concurrency
//
// Several run in one process, each in a directory of its own.
package standalone

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// Deps is what a Standalone works with.
type Deps struct {
	Logger *slog.Logger
	Stdout io.Writer // gets the ready line and, with -demo, the commands to try; nothing else
}

// Standalone is one process's worth of triggerd.
type Standalone struct {
	cfg   Config
	deps  Deps
	ready chan struct{}
	addrs Addrs
	try   string // of the demo
}

// Addrs are bound addresses, host:port.
type Addrs struct {
	HTTP, Admin string
	NATS        string // url; empty without -nats-addr
}

// New touches nothing yet. cfg must be valid.
func New(cfg Config, deps Deps) *Standalone {
	return &Standalone{cfg: cfg, deps: deps, ready: make(chan struct{})}
}

// Ready is closed when the ready line was written; then Addrs may be called.
func (s *Standalone) Ready() <-chan struct{} { return s.ready }

// Addrs are valid once Ready is closed.
func (s *Standalone) Addrs() Addrs { return s.addrs }

// Run blocks until ctx ends and all is drained, or something fails. It may be called once.
func (s *Standalone) Run(ctx context.Context) error {
	lock, err := lockDir(s.cfg.DataDir)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := ingress.EnsureKeys(s.cfg.keysDir()); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	b, err := newBroker(s.cfg, s.deps.Logger)
	if err != nil {
		return err
	}
	program := process.Program{
		Name:   "standalone",
		Before: []lifecycle.Part{{Name: "broker", Run: b.run}},
		Dial:   func(context.Context) (*nats.Conn, error) { return b.dial() },
		Parts:  func(env *process.Env) ([]lifecycle.Part, error) { return s.parts(env, b) },
	}
	return program.Run(ctx, s.cfg.Process, s.deps.Logger)
}

// parts composes worker and ingress as they are. The worker's part is ready at once, so that the ingress serves meanwhile.
func (s *Standalone) parts(env *process.Env, b *embedded) ([]lifecycle.Part, error) {
	if err := b.show(env); err != nil {
		return nil, err
	}
	w, err := worker.New(s.cfg.worker(), worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health, Tracer: env.Tracer})
	if err != nil {
		return nil, err
	}
	for pattern, page := range w.AdminPages() {
		env.Pages.Handle(pattern, page)
	}
	env.Announce = s.announce
	s.addrs = Addrs{Admin: env.Admin, NATS: b.url()}
	deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health, Tracer: env.Tracer}
	return []lifecycle.Part{
		{Name: "worker", Run: func(ctx context.Context, ready func()) error { ready(); return w.Run(ctx) }},
		ingress.Part(s.cfg.ingress(), deps, func(addr string) { s.addrs.HTTP = addr }),
		{Name: "demo", Run: func(ctx context.Context, ready func()) error { return s.prepare(ctx, w.Ready(), ready) }},
	}, nil
}

// prepare waits for the worker, and declares the demo's data.
func (s *Standalone) prepare(ctx context.Context, caughtUp <-chan struct{}, ready func()) (err error) {
	select {
	case <-caughtUp:
	case <-ctx.Done():
		return nil
	}
	if s.try, err = s.demo(ctx); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	return nil
}

// announce says that everything is there.
func (s *Standalone) announce() error {
	if _, err := fmt.Fprintf(s.deps.Stdout, "ready http=%s admin=%s\n%s", s.addrs.HTTP, s.addrs.Admin, s.try); err != nil {
		return fmt.Errorf("write ready line: %w", err)
	}
	close(s.ready)
	return nil
}
