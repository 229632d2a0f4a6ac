// Package nats_test runs brokers with the files of this directory, and what they are for with them.
package nats_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

func TestMain(m *testing.M) {
	natstest.BeServer()
	goleak.VerifyTestMain(m)
}

// member is a process of a deployment, but for the process.
type member struct {
	t     *testing.T
	said  chan string // lines of its log
	ready chan struct{}
	ended chan error
	addr  string // of an ingress
	admin string
}

// start runs a kind of process until the test ends.
func start(t *testing.T, name string, own config.Part, parts func(m *member, env *process.Env) ([]lifecycle.Part, error), args ...string) *member {
	t.Helper()
	var cfg process.Config
	var remote process.Remote
	var sync process.SyncRule
	args = append([]string{"-admin-addr", "127.0.0.1:0", "-partitions", "2", "-triggers-max-bytes", "64MiB", "-events-max-bytes", "64MiB", "-snapshots-max-bytes", "64MiB"}, args...)
	if err := config.Load(name, args, nil, io.Discard, own, &cfg, &remote, &sync); err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, said: make(chan string, 1000), ready: make(chan struct{}), ended: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(lines(m.said), nil))
	program := process.Program{Name: name, Sync: sync,
		Dial: func(ctx context.Context) (*nats.Conn, error) { return remote.Dial(ctx, name, log) },
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			m.admin = env.Admin
			own, err := parts(m, env)
			return append(own, lifecycle.Part{Name: "announce", Run: func(ctx context.Context, ready func()) error {
				ready()
				close(m.ready)
				<-ctx.Done()
				return nil
			}}), err
		}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { m.ended <- program.Run(ctx, cfg, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-m.ended; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		for t.Failed() && len(m.said) > 0 {
			t.Logf("%s: %s", name, <-m.said)
		}
	})
	return m
}

// lines is a writer that hands on what is written to it.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- strings.TrimSpace(string(line))
	return len(line), nil
}

// await waits for a line of the log.
func (m *member) await(text string) {
	m.t.Helper()
	natstest.Eventually(m.t, func() bool {
		for len(m.said) > 0 {
			if strings.Contains(<-m.said, text) {
				return true
			}
		}
		return false
	}, "log says %q", text)
}

func (m *member) awaitReady() {
	m.t.Helper()
	select {
	case <-m.ready:
	case err := <-m.ended:
		m.ended <- nil
		m.t.Fatalf("ended before it was ready: %v", err)
	case <-m.t.Context().Done():
	}
}

// readyz is what the admin port says.
func (m *member) readyz() (status int, body string) {
	m.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + m.admin + "/readyz?verbose")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data)
}

// workerSettings are a worker's, with its directory.
type workerSettings struct{ worker.Config }

func startWorker(t *testing.T, args ...string) *member {
	t.Helper()
	cfg := &workerSettings{}
	dir := filepath.Join(t.TempDir(), "worker")
	return start(t, "worker", cfg, func(_ *member, env *process.Env) ([]lifecycle.Part, error) {
		cfg.DataDir = dir
		w, err := worker.New(cfg.Config, worker.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
		if err != nil {
			return nil, err
		}
		return []lifecycle.Part{w.Part()}, nil
	}, args...)
}

func startIngress(t *testing.T, keys string, args ...string) *member {
	t.Helper()
	cfg := &ingress.Config{}
	return start(t, "ingress", cfg, func(m *member, env *process.Env) ([]lifecycle.Part, error) {
		deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health}
		return []lifecycle.Part{ingress.Part(*cfg, deps, func(addr string) { m.addr = addr })}, nil
	}, append([]string{"-http-addr", "127.0.0.1:0", "-keys-file", ingress.KeysIn(keys).Public}, args...)...)
}
