package e2e

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

const account = "e2e"

// fleet is a broker, and the processes of a deployment around it.
type fleet struct {
	t      *testing.T
	nats   *natstest.Server
	js     jetstream.JetStream
	dir    string
	args   []string // settings of every member
	count  int      // of partitions
	token  string   // of the account, for triggers and runtime
	admin  string   // of the account, for operators
	client *http.Client
}

// newFleet starts a broker for a deployment of two partitions. args are settings of every member.
func newFleet(t *testing.T, args ...string) *fleet {
	t.Helper()
	return newFleetOf(t, 2, args...)
}

func newFleetOf(t *testing.T, partitions int, args ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, nats: natstest.Start(t), dir: t.TempDir(), count: partitions, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	f.js = f.nats.JetStream()
	f.args = append([]string{"-admin-addr", "127.0.0.1:0", "-partitions", strconv.Itoa(partitions), "-triggers-max-bytes", "256MiB", "-events-max-bytes", "256MiB"}, args...)
	t.Cleanup(f.client.CloseIdleConnections)
	if err := ingress.EnsureKeys(f.keysDir()); err != nil {
		t.Fatal(err)
	}
	f.token, f.admin = f.issue("trigger runtime"), f.issue("admin")
	return f
}

func (f *fleet) issue(scope string) string { return f.issueTo(account, scope) }

func (f *fleet) issueTo(account, scope string) string {
	f.t.Helper()
	token, err := ingress.IssueToken(ingress.KeysIn(f.keysDir()).Signing, account, scope, time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

func (f *fleet) keysDir() string { return filepath.Join(f.dir, "keys") }

// patient bounds one step of a test.
func (f *fleet) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(f.t.Context(), natstest.Patience)
}

// member is a running process, but for the process.
type member struct {
	t      *testing.T
	addr   string // of an ingress
	admin  string
	cancel context.CancelFunc
	ended  chan error
}

// stop drains a member.
func (m *member) stop() {
	m.t.Helper()
	m.cancel()
	select {
	case err := <-m.ended:
		if err != nil {
			m.t.Errorf("drain: %v", err)
		}
		m.ended <- nil
	case <-time.After(natstest.Patience):
		m.t.Fatal("a member did not drain")
	}
}

// own is what a kind of member can be told, and how its parts are made.
type own struct {
	name     string
	settings config.Part
	parts    func(env *process.Env) ([]lifecycle.Part, error)
}

// start runs a member until it is stopped or the test ends, and waits until it is ready. args come after those of the fleet, and win.
func (f *fleet) start(kind own, args ...string) *member {
	f.t.Helper()
	var cfg process.Config
	var remote process.Remote
	args = append(append([]string{"-nats-url", f.nats.URL()}, f.args...), args...)
	if err := config.Load(kind.name, args, nil, io.Discard, kind.settings, &cfg, &remote); err != nil {
		f.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	m := &member{t: f.t, ended: make(chan error, 1)}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(f.t.Context())
	ready := make(chan struct{})
	program := process.Program{Name: kind.name,
		Dial: func(ctx context.Context) (c *nats.Conn, err error) { return remote.Dial(ctx, kind.name, log) },
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			m.admin = env.Admin
			parts, err := kind.parts(env)
			return append(parts, announce(func() { close(ready) })), err
		},
	}
	go func() { m.ended <- program.Run(ctx, cfg, log) }()
	f.t.Cleanup(m.stop)
	select {
	case <-ready:
	case err := <-m.ended:
		m.ended <- nil
		f.t.Fatalf("start %s: %v", kind.name, err)
	case <-time.After(natstest.Patience):
		f.t.Fatalf("%s is not ready", kind.name)
	}
	return m
}

// announce is the last part of a program: it tells that those before it are ready.
func announce(tell func()) lifecycle.Part {
	return lifecycle.Part{Name: "announce", Run: func(ctx context.Context, next func()) error {
		next()
		tell()
		<-ctx.Done()
		return nil
	}}
}

// ingress starts one more. Unless args say otherwise it waits for the owner's word and for the log however slow the machine is: only tests that are
// about hurry may depend on it.
func (f *fleet) ingress(args ...string) *member {
	f.t.Helper()
	var cfg ingress.Config
	var addr string
	args = append([]string{"-http-addr", "127.0.0.1:0", "-keys-file", ingress.KeysIn(f.keysDir()).Public, "-check-timeout", "20s", "-append-timeout", "20s", "-http-drain-timeout", "1m"}, args...)
	m := f.start(own{"ingress", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health, Tracer: env.Tracer}
		return []lifecycle.Part{ingress.Part(cfg, deps, func(bound string) { addr = bound })}, nil
	}}, args...)
	m.addr = addr
	return m
}

// workerSettings are a worker's, with the directory of its files.
type workerSettings struct{ worker.Config }

func (s *workerSettings) RegisterFlags(fs *flag.FlagSet) {
	s.Config.RegisterFlags(fs)
	fs.StringVar(&s.DataDir, "data-dir", "", "`directory` of the partitions' files")
}

func (s *workerSettings) Validate() error {
	if s.DataDir == "" {
		return errors.New("-data-dir is empty")
	}
	return s.Config.Validate()
}

// parts are those of the binary.
func (s *workerSettings) parts(env *process.Env) ([]lifecycle.Part, error) {
	w, err := worker.New(s.Config, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health, Tracer: env.Tracer})
	if err != nil {
		return nil, err
	}
	for path, page := range w.AdminPages() {
		env.Pages.Handle(path, page)
	}
	return []lifecycle.Part{w.Part()}, nil
}

// worker owns all partitions, or shares them with the others. Its files are the same at every call unless args name another -data-dir.
func (f *fleet) worker(args ...string) *member {
	f.t.Helper()
	cfg := &workerSettings{}
	return f.start(own{"worker", cfg, cfg.parts}, append([]string{"-data-dir", f.dir}, args...)...)
}
