package e2e

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "e2e"

// fleet is a broker, and the processes of a deployment around it.
type fleet struct {
	t      *testing.T
	nats   *natstest.Server
	dir    string
	token  string
	client *http.Client
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, nats: natstest.Start(t), dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(f.client.CloseIdleConnections)
	if err := ingress.EnsureKeys(f.keysDir()); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.token, err = ingress.IssueToken(ingress.KeysIn(f.keysDir()).Signing, account, "trigger runtime", time.Hour); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) keysDir() string { return filepath.Join(f.dir, "keys") }

// member is a running process, but for the process.
type member struct {
	t      *testing.T
	addr   string // of an ingress
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

// start runs a member until it is stopped or the test ends, and waits until it is ready.
func (f *fleet) start(kind own) *member {
	f.t.Helper()
	var cfg process.Config
	var remote process.Remote
	args := []string{"-nats-url", f.nats.URL(), "-admin-addr", "127.0.0.1:0", "-partitions", "3", "-triggers-max-bytes", "256MiB", "-events-max-bytes", "256MiB"}
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
			parts, err := kind.parts(env)
			return append(parts, lifecycle.Part{Name: "ready", Run: func(ctx context.Context, next func()) error {
				next()
				close(ready)
				<-ctx.Done()
				return nil
			}}), err
		},
	}
	go func() { m.ended <- program.Run(ctx, cfg, log) }()
	f.t.Cleanup(m.stop)
	select {
	case <-ready:
	case err := <-m.ended:
		f.t.Fatalf("start %s: %v", kind.name, err)
	case <-time.After(natstest.Patience):
		f.t.Fatalf("%s is not ready", kind.name)
	}
	return m
}

// withDefaults is a part whose settings are changed after the defaults were set.
type withDefaults struct {
	config.Part
	change func()
}

func (p withDefaults) RegisterFlags(fs *flag.FlagSet) {
	p.Part.RegisterFlags(fs)
	p.change()
}

func (f *fleet) ingress() *member {
	f.t.Helper()
	var cfg ingress.Config
	var addr string
	m := f.start(own{"ingress", withDefaults{&cfg, func() {
		cfg.HTTPAddr, cfg.KeysFile = "127.0.0.1:0", ingress.KeysIn(f.keysDir()).Public
	}}, func(env *process.Env) ([]lifecycle.Part, error) {
		in, err := ingress.New(cfg, ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
		if err != nil {
			return nil, err
		}
		addr = in.Addr()
		return []lifecycle.Part{in.Part()}, nil
	}})
	m.addr = addr
	return m
}

// worker owns all partitions; the files are the same at every call, so there is one at a time.
func (f *fleet) worker() *member {
	f.t.Helper()
	var cfg worker.Config
	return f.start(own{"worker", withDefaults{&cfg, func() { cfg.DataDir = f.dir }}, func(env *process.Env) ([]lifecycle.Part, error) {
		w, err := worker.New(cfg, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
		if err != nil {
			return nil, err
		}
		return []lifecycle.Part{w.Part()}, nil
	}})
}

// call makes a request of one ingress.
func (f *fleet) call(to *member, method, path, media, body string) (code int, header http.Header, answer string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+to.addr+path, strings.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return 0, nil, ""
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Error(err)
		return 0, nil, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Error(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// load is what loadgen puts on an ingress.
func (f *fleet) load(to *member, users, connections int) *loadgen.Session {
	f.t.Helper()
	session, err := loadgen.Prepare(f.t.Context(), loadgen.Config{URL: "http://" + to.addr, Token: f.token, Users: users,
		Connections: connections, Duration: time.Minute, Timeout: 10 * time.Second, Quiet: true})
	if err != nil {
		f.t.Fatal(err)
	}
	return session
}

// audit fails the test if a promise was broken.
func (f *fleet) audit(session *loadgen.Session) *loadgen.Report {
	f.t.Helper()
	if err := session.Audit(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	report := session.Report()
	var text strings.Builder
	report.Print(&text)
	f.t.Log("\n" + text.String())
	if len(report.Broken) > 0 || report.Accepted == 0 {
		f.t.Errorf("%d promises broken, %d accepted", len(report.Broken), report.Accepted)
	}
	return report
}
