// Package process is what ingress, worker and standalone have in common when they run as processes: how they are
// configured, connect to NATS, show themselves on the admin port, start and stop.
//
// # Usage
//
// A binary's main is one call of [Main] with its own settings and a function that makes its parts. Whoever brings a broker along, as
// standalone does, composes a [Program] and calls [Program.Run]. Every binary has the verbs config, which shows its settings, and config check, which
// says whether it would start with them.
//
// # Ordering
//
// The admin port is served first and last, so that a process which cannot reach its broker, or drains, can be asked why. Then come the watchdog,
// Program.Before, the connection, [broker.Ensure], and the parts in their order. Stopping goes backwards, after /readyz has turned 503.
//
// # Failure
//
// A broker that is away is waited for, at start and later. One that refuses the process ends it at start, and is named later, when it may be
// about to be told of a new key. Everything else ends the process with an error: wrong settings with exit code 2 before
// anything is touched, the rest with 1.
//
// A loop of the process that does not turn for Config.WatchdogAfter cannot be repaired from inside: /livez answers 503 and names it, and the
// service manager, if there is one (NOTIFY_SOCKET, WATCHDOG_USEC), hears no sign of life any more. It also hears when all parts are ready, and when the
// process was told to stop.
//
// What a broker that does not sync always acknowledges can be lost. A process that finds such a server, or finds out nothing, is not ready:
// see SyncRule.
//
// # Concurrency
//
// There is nothing global: several programs may run in one process, each with a Config of its own.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/shared/tracing"
)

// Env is what the parts of a program work with.
type Env struct {
	Broker   *broker.Broker
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Health   *lifecycle.Health
	Tracer   *tracing.Tracer // nil: spans go nowhere
	Admin    string          // the bound address of the admin port
	Pages    *http.ServeMux  // of the admin port; parts may add to it at any time
	Announce func() error    // if Program.Parts sets it: called once, when all parts are ready and /readyz says so
}

// Program is a process as a value.
type Program struct {
	Name   string
	Before []lifecycle.Part                                 // what runs while there is no connection yet
	Dial   func(ctx context.Context) (*nats.Conn, error)    // until ctx ends
	Parts  func(env *Env) (parts []lifecycle.Part, _ error) // made when the deployment was ensured
	Sync   SyncRule                                         // empty: whoever brings the broker along shows what it is worth
	Remote *Remote                                          // what of it ends is shown; nil: nothing does
}

var errStarting = errors.New("starting")

// Run runs the program until ctx ends and all is drained (nil), or a part fails.
func (p Program) Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	env := &Env{Logger: log, Registry: telemetry.NewRegistry(), Health: lifecycle.NewHealth(), Pages: http.NewServeMux()}
	defer telemetry.FlushRepeats(log)
	if err := telemetry.ShowRepeats(log, env.Registry); err != nil {
		return fmt.Errorf("show the log: %w", err)
	}
	tracer, err := cfg.Tracing.Tracer(p.Name, env.Registry, log)
	if err != nil {
		return err
	}
	handler := telemetry.AdminHandler(env.Registry, env.Health, map[string]http.Handler{"/": env.Pages})
	admin, err := telemetry.NewAdmin(cfg.AdminAddr, handler, log)
	if err != nil {
		return err
	}
	env.Admin = admin.Addr()
	say(log, p.Name, cfg.Told)
	watchdog, err := watch(env, lifecycle.NewManager(os.Getenv), cfg.WatchdogAfter)
	if err != nil {
		return errors.Join(err, admin.Close())
	}
	parts := []lifecycle.Part{{Name: "admin", Run: admin.Run}, watchdog.part()}
	if tracer != nil { // before all that makes spans, so that the last of them leave
		env.Tracer, parts = tracer, append(parts, lifecycle.Part{Name: "spans", Run: tracer.Run})
	}
	parts = append(parts, p.Before...)
	return lifecycle.Run(ctx, append(parts, lifecycle.Part{Name: p.Name, Run: func(ctx context.Context, ready func()) error {
		defer watchdog.tellsOfEnd(ctx)()
		return p.connected(ctx, cfg, env, func() { watchdog.ready(); ready() })
	}})...)
}

// connected runs the parts over a connection. A process that is told to stop while it still waits for its broker has not failed.
func (p Program) connected(ctx context.Context, cfg Config, env *Env, ready func()) error {
	var started atomic.Bool
	env.Health.Register("start", func() (string, error) {
		if !started.Load() {
			return "", errStarting
		}
		return p.Name + " started", nil
	})
	conn, err := p.Dial(ctx)
	if err != nil {
		return unlessTold(ctx, fmt.Errorf("connect: %w", err))
	}
	defer conn.Close()
	env.Health.Register("broker", func() (string, error) { return checkConn(conn) })
	if env.Broker, err = broker.Ensure(ctx, conn, cfg.Deployment.Settings, env.Logger); err != nil {
		return unlessTold(ctx, explained(err))
	}
	parts, err := p.parts(env)
	if err != nil {
		return err
	}
	return lifecycle.Run(ctx, append(parts, lifecycle.Readiness(env.Health), announce(env, func() { started.Store(true); ready() }))...)
}

// parts are those of the program, after what watches its broker.
func (p Program) parts(env *Env) (parts []lifecycle.Part, _ error) {
	if err := showSettings(env); err != nil {
		return nil, err
	}
	if p.Remote != nil {
		if err := showExpiry(env, p.Remote); err != nil {
			return nil, err
		}
	}
	if p.Sync != "" {
		watch, err := watchDurability(env, p.Sync)
		if err != nil {
			return nil, err
		}
		parts = append(parts, watch)
	}
	own, err := p.Parts(env)
	return append(parts, own...), err
}

// announce is called when all parts are ready.
func announce(env *Env, all func()) lifecycle.Part {
	return lifecycle.Part{Name: "start", Run: func(ctx context.Context, ready func()) error {
		all()
		if env.Announce != nil {
			if err := env.Announce(); err != nil {
				return fmt.Errorf("announce: %w", err)
			}
		}
		ready()
		<-ctx.Done()
		return nil
	}}
}

// explained adds what a person can do to what the broker says.
func explained(err error) error {
	if errors.Is(err, broker.ErrLogForeign) {
		return fmt.Errorf("%w (see deploy/BACKUP.md); until then no process can start: those that run go on with the other partitions, so do not restart them", err)
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeJetStreamNotEnabledForAccount:
		return fmt.Errorf("%w: the key is one of an account without JetStream, such as that of role system: check -nats-nkey, -nats-credentials, -nats-user", err)
	case codeNoRoom:
		return fmt.Errorf("%w: every stream reserves its bytes: raise max_file_store in the servers' configuration, or make the deployment with smaller "+
			"-triggers-max-bytes, -events-max-bytes, -snapshots-max-bytes or fewer -partitions", err)
	}
	return err
}

// codeNoRoom: the servers' stores have no room for what a stream reserves.
const codeNoRoom = 10047

func unlessTold(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
