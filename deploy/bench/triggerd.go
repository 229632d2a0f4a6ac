package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

const (
	serverStart = 30 * time.Second
	serverStore = 1 << 50 // a bound only on paper
	tokenTTL    = time.Hour
)

// natsServer is a server that syncs every message, as standalone's does, and a connection to it.
type natsServer struct {
	server *server.Server
	conn   *nats.Conn
}

func startServer(dir string) (*natsServer, error) {
	srv, err := server.NewServer(&server.Options{ServerName: "bench", JetStream: true, StoreDir: dir, SyncAlways: true, DontListen: true,
		NoSigs: true, NoLog: true, JetStreamMaxStore: serverStore, JetStreamMaxMemory: 1 << 26})
	if err != nil {
		return nil, err
	}
	s := &natsServer{server: srv}
	srv.Start()
	if !srv.ReadyForConnections(serverStart) {
		return nil, errors.Join(errors.New("server is not ready"), s.stop())
	}
	opts := append(process.ConnOptions("bench", slog.New(slog.DiscardHandler)), nats.InProcessServer(srv))
	if s.conn, err = nats.Connect("", opts...); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *natsServer) stop() error {
	if s.conn != nil {
		s.conn.Close()
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return nil
}

// settings has everything at its default.
type settings struct {
	deployment process.Deployment
	ingress    ingress.Config
	worker     worker.Config
}

func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	s.deployment.RegisterFlags(fs)
	s.ingress.RegisterFlags(fs)
	s.worker.RegisterFlags(fs)
}

func (s *settings) Validate() error { return nil }

// startTriggerd composes what standalone does, the worker only if it is to apply.
func startTriggerd(ctx context.Context, dir string, partitions int, applying bool) (*target, error) {
	var set settings
	if err := config.Load("bench", nil, nil, nil, &set); err != nil {
		return nil, err
	}
	set.deployment.Partitions, set.worker.DataDir = partitions, dir
	set.ingress.HTTPAddr, set.ingress.KeysFile = "127.0.0.1:0", ingress.KeysIn(filepath.Join(dir, "keys")).Public
	if err := ingress.EnsureKeys(filepath.Join(dir, "keys")); err != nil {
		return nil, err
	}
	token, err := ingress.IssueToken(ingress.KeysIn(filepath.Join(dir, "keys")).Signing, "bench", "trigger runtime", tokenTTL)
	if err != nil {
		return nil, err
	}
	srv, err := startServer(filepath.Join(dir, "nats"))
	if err != nil {
		return nil, err
	}
	t, err := compose(ctx, srv, set, applying)
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	t.token = token
	return t, nil
}

func compose(ctx context.Context, srv *natsServer, set settings, applying bool) (*target, error) {
	log := slog.New(slog.DiscardHandler)
	b, err := broker.Ensure(ctx, srv.conn, set.deployment.Settings, log)
	if err != nil {
		return nil, err
	}
	var parts []lifecycle.Part
	if applying {
		w, err := worker.New(set.worker, worker.Deps{Broker: b, Logger: log})
		if err != nil {
			return nil, err
		}
		parts = append(parts, w.Part())
	}
	t := &target{}
	parts = append(parts, ingress.Part(set.ingress, ingress.Deps{Broker: b, Logger: log}, func(addr string) { t.addr = addr }))
	return t, t.run(parts, srv)
}

// run starts the parts and returns when they are ready.
func (t *target) run(parts []lifecycle.Part, srv *natsServer) error {
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	parts = append(parts, lifecycle.Part{Name: "ready", Run: func(ctx context.Context, next func()) error {
		next()
		close(ready)
		<-ctx.Done()
		return nil
	}})
	go func() { ended <- lifecycle.Run(ctx, parts...) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		return fmt.Errorf("start: %w", err)
	}
	t.stop = func() error {
		cancel()
		return errors.Join(<-ended, srv.stop())
	}
	return nil
}
