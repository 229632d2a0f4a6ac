// Package ingress takes triggers from third parties over HTTP and makes them durable in the log. It is a program as a value: a binary of
// its own ([github.com/triggerd/triggerd/ingress/cmd/ingress]), or a part of standalone.
//
// # Usage
//
//	in, err := ingress.New(cfg, ingress.Deps{Broker: b, Logger: log, Registerer: reg, Health: health})
//	log.Info("listening", "addr", in.Addr())
//	err = in.Run(ctx)
//
// # Ordering
//
// A request passes the token gate, its account's rate limit, the decoder, the directory of Modules and the admission check, while its record already waits behind the
// batch in flight. It is answered when the batch is durable. Many ingresses serve one deployment; of each other they know how many
// they are, because accounts' limits are divided by that.
//
// # Failure
//
// Accepting depends on the broker alone: workers may be away. While the broker is away everything is answered with 503 and no restart is
// needed when it is back.
//
// # Stopping
//
// When Run's context ends /healthz answers 503 and every connection is closed with its next answer. After Limits.DrainDelay, in which requests are taken as before, the
// port is closed, requests in hand are answered within Limits.DrainTimeout, and what they appended is resolved; then Run returns. A request that comes later is
// refused by the system: nothing of it was stored.
//
// # Concurrency
//
// Several ingresses run in one process, each with a registry of its own.
package ingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/directory"
	"github.com/triggerd/triggerd/ingress/internal/httpapi"
	"github.com/triggerd/triggerd/ingress/internal/revocation"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/shared/tracing"
)

// Deps is what an ingress works with; it owns none of it.
type Deps struct {
	Broker     *broker.Broker        // of an ensured deployment
	Logger     *slog.Logger          // nil = nothing is logged
	Registerer prometheus.Registerer // nil = metrics are kept and shown to nobody
	Health     *lifecycle.Health     // nil = nobody asks
	Tracer     *tracing.Tracer       // nil = spans go nowhere
}

// Ingress is bound to its port from New on and serves while it runs.
type Ingress struct {
	cfg       Config
	log       *slog.Logger
	listener  net.Listener
	appender  *appender.Appender
	admission *admission.Admission
	directory *directory.Directory
	limits    limits
	api       *httpapi.API

	revoked  *revocation.Set
	stopKeys context.CancelFunc // ends the reloading of keys, which keys waits for
	keys     sync.WaitGroup
}

// New binds the port and makes the parts. Whoever gets an Ingress must Run it, if only with a context that has ended: that releases what
// it holds. cfg must be valid.
func New(cfg Config, deps Deps) (*Ingress, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	in := &Ingress{cfg: cfg, log: deps.Logger}
	if err := in.make(deps); err != nil {
		in.closeParts(context.Background())
		return nil, err
	}
	return in, nil
}

// make creates the parts, each needing those before it.
func (in *Ingress) make(deps Deps) (err error) {
	gate, err := in.makeGate(deps)
	if err != nil {
		return err
	}
	state := statequery.NewClient(deps.Broker.Conn)
	partitions := deps.Broker.Partitions()
	in.appender, err = appender.New(in.cfg.appender(partitions), appender.Deps{
		Conn: deps.Broker.Conn, Registerer: deps.Registerer, Log: deps.Logger, Health: deps.Health, Tracer: deps.Tracer})
	if err != nil {
		return err
	}
	in.checkWindow(deps)
	deps.Health.Register("logs", func() (string, error) { return in.appender.Describe(), nil })
	in.admission, err = admission.New(in.cfg.admission(partitions), admission.Deps{Asker: state, Registerer: deps.Registerer})
	if err != nil {
		return err
	}
	in.directory, err = directory.New(directory.Config{}, directory.Deps{Broker: deps.Broker, Registerer: deps.Registerer, Log: deps.Logger})
	if err != nil {
		return err
	}
	if err = in.makeLimits(deps); err != nil {
		return err
	}
	in.api, err = httpapi.New(in.cfg.api(partitions), httpapi.Deps{
		Gate: gate, Appender: in.appender, Users: in.admission, Directory: in.directory, State: state, Log: deps.Broker, Limiter: in.limits.limiter,
		Registerer: deps.Registerer, Logger: deps.Logger, Tracer: deps.Tracer})
	if err != nil {
		return err
	}
	if in.listener, err = net.Listen("tcp", in.cfg.HTTPAddr); err != nil {
		return fmt.Errorf("bind http port: %w", err)
	}
	return nil
}

// makeGate makes what judges tokens, and what tells it of revoked ones.
func (in *Ingress) makeGate(deps Deps) (gate *auth.Gate, err error) {
	in.revoked, err = revocation.New(revocation.Config{}, revocation.Deps{Broker: deps.Broker, Registerer: deps.Registerer, Log: deps.Logger})
	if err != nil {
		return nil, err
	}
	deps.Health.Register("revocations", in.revoked.Ready)
	cfg := in.cfg.gate(deps)
	cfg.Revoked = in.revoked.Revoked
	if gate, err = auth.New(cfg); err != nil {
		return nil, err
	}
	deps.Health.Register("keys", gate.Ready)
	ctx, stop := context.WithCancel(context.Background())
	in.stopKeys = stop
	in.keys.Go(func() { gate.Run(ctx) })
	return gate, nil
}

// Addr is the bound address, host:port.
func (in *Ingress) Addr() string { return in.listener.Addr().String() }

// Run serves until ctx ends and then drains. It may be called once. Until it is known which tokens are revoked, callers wait.
func (in *Ingress) Run(ctx context.Context) error {
	if in.revoked.Await(ctx) != nil {
		return in.neverServed(ctx)
	}
	served := make(chan error, 1)
	go func() { served <- in.api.Serve(in.listener) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- nil
	}
	in.log.Info("ingress drains", "delay", in.cfg.Limits.DrainDelay, "limit", in.cfg.Limits.DrainTimeout)
	in.api.Drain()
	if err == nil {
		<-time.After(in.cfg.Limits.DrainDelay)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.cfg.Limits.DrainTimeout)
	defer cancel()
	stopped := in.api.Shutdown(drain)
	return errors.Join(err, <-served, stopped, in.closeParts(drain))
}

// neverServed ends an ingress that was told to stop before it could serve.
func (in *Ingress) neverServed(ctx context.Context) error {
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.cfg.Limits.DrainTimeout)
	defer cancel()
	return errors.Join(in.listener.Close(), in.api.Shutdown(drain), in.closeParts(drain))
}

// Part is an ingress as a part of a program: made when its turn comes, and never left behind. bound is called with its address before it is ready.
func Part(cfg Config, deps Deps, bound func(addr string)) lifecycle.Part {
	return lifecycle.Part{Name: "ingress", Run: func(ctx context.Context, ready func()) error {
		in, err := New(cfg, deps)
		if err != nil {
			return err
		}
		if in.revoked.Await(ctx) == nil {
			bound(in.Addr())
			ready()
		}
		return in.Run(ctx)
	}}
}

// closeParts ends what New has made so far, users before what they use.
func (in *Ingress) closeParts(ctx context.Context) (err error) {
	if in.admission != nil {
		in.admission.Close()
	}
	if in.appender != nil { // before those below, which wait for the broker to forget their watches, and would use up its time
		err = in.appender.Close(ctx)
	}
	if in.directory != nil {
		in.directory.Close()
	}
	if in.stopKeys != nil {
		in.stopKeys()
		in.keys.Wait()
	}
	if in.revoked != nil {
		in.revoked.Close()
	}
	in.limits.close(ctx, in.log)
	return err
}
