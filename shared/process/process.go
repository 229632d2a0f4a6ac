// Package process is what ingress, worker and standalone have in common when they run as processes: how they are
// configured, connect to NATS, show themselves on the admin port, start and stop.
//
// # Usage
//
// A binary's main is one call of [Main] with its own settings and a function that makes its parts. Whoever brings a broker along, as
// standalone does, composes a [Program] and calls [Program.Run].
//
// # Ordering
//
// The admin port is served first and last, so that a process which cannot reach its broker, or drains, can be asked why. Then come
// Program.Before, the connection, [broker.Ensure], and the parts in their order. Stopping goes backwards, after /readyz has turned 503.
//
// # Failure
//
// A broker that is away is waited for, at start and later. One that refuses the process ends it at start, and is named later, when it may be
// about to be told of a new key. Everything else ends the process with an error: wrong settings with exit code 2 before
// anything is touched, the rest with 1.
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
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Env is what the parts of a program work with.
type Env struct {
	Broker   *broker.Broker
	Logger   *slog.Logger
	Registry *prometheus.Registry
	Health   *lifecycle.Health
	Admin    string         // the bound address of the admin port
	Pages    *http.ServeMux // of the admin port; parts may add to it at any time
}

// Program is a process as a value.
type Program struct {
	Name   string
	Before []lifecycle.Part                                 // what runs while there is no connection yet
	Dial   func(ctx context.Context) (*nats.Conn, error)    // until ctx ends
	Parts  func(env *Env) (parts []lifecycle.Part, _ error) // made when the deployment was ensured
	Sync   SyncRule                                         // empty: whoever brings the broker along shows what it is worth
}

var errStarting = errors.New("starting")

// Run runs the program until ctx ends and all is drained (nil), or a part fails.
func (p Program) Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	env := &Env{Logger: log, Registry: telemetry.NewRegistry(), Health: lifecycle.NewHealth(), Pages: http.NewServeMux()}
	handler := telemetry.AdminHandler(env.Registry, env.Health, map[string]http.Handler{"/": env.Pages})
	admin, err := telemetry.NewAdmin(cfg.AdminAddr, handler, log)
	if err != nil {
		return err
	}
	env.Admin = admin.Addr()
	parts := append([]lifecycle.Part{{Name: "admin", Run: admin.Run}}, p.Before...)
	return lifecycle.Run(ctx, append(parts, lifecycle.Part{Name: p.Name, Run: func(ctx context.Context, ready func()) error {
		return p.connected(ctx, cfg, env, ready)
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
	return lifecycle.Run(ctx, append(parts, lifecycle.Readiness(env.Health), announce(func() { started.Store(true); ready() }))...)
}

// parts are those of the program, after what watches its broker.
func (p Program) parts(env *Env) (parts []lifecycle.Part, _ error) {
	if err := showSettings(env); err != nil {
		return nil, err
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
func announce(all func()) lifecycle.Part {
	return lifecycle.Part{Name: "start", Run: func(ctx context.Context, ready func()) error {
		all()
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

// Main is the whole of a binary that connects to a broker elsewhere: it loads own, runs the parts until the first signal and
// returns the exit code. A second signal ends the process at once. The process's arguments, environment and
// outputs are used.
func Main(name string, own config.Part, parts func(env *Env) ([]lifecycle.Part, error)) int {
	var cfg Config
	var remote Remote
	var sync SyncRule
	return Execute(name, func(ctx context.Context, stderr io.Writer) error {
		log := cfg.Log.Logger(stderr)
		dial := func(ctx context.Context) (*nats.Conn, error) { return remote.Dial(ctx, name, log) }
		return Program{Name: name, Dial: dial, Parts: parts, Sync: sync}.Run(ctx, cfg, log)
	}, own, &cfg, &remote, &sync)
}

// Execute loads the settings, calls run with a context that ends with the first signal, and turns what it returns into an exit code: 0,
// 1 for a failure, 2 for settings that are wrong.
func Execute(name string, run func(ctx context.Context, stderr io.Writer) error, settings ...config.Part) int {
	switch err := config.Load(name, os.Args[1:], os.Environ(), os.Stdout, settings...); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := lifecycle.Signals(context.Background())
	defer stop()
	if err := run(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, name+": "+strings.TrimPrefix(err.Error(), name+": "))
		return 1
	}
	return 0
}
