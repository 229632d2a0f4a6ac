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
	"github.com/prometheus/client_golang/prometheus"

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
	d, err := deploy(ctx, dir, partitions)
	if err != nil {
		return nil, err
	}
	t := &target{addr: d.addr, token: d.token, stop: d.stop}
	if applying {
		w, err := d.startWorker(d.set.worker)
		if err != nil {
			return nil, errors.Join(err, d.stop())
		}
		t.metrics, t.stop = w.metrics, func() error { return errors.Join(w.stop(), d.stop()) }
	}
	return t, nil
}

// deployment is a broker and an ingress. Workers come and go.
type deployment struct {
	set         settings
	broker      *broker.Broker
	addr, token string
	srv         *natsServer
	ingress     *running
}

func deploy(ctx context.Context, dir string, partitions int) (*deployment, error) {
	return deployWith(ctx, dir, partitions, func(*settings) {})
}

// deployWith lets change do what flags would.
func deployWith(ctx context.Context, dir string, partitions int, change func(*settings)) (*deployment, error) {
	d := &deployment{}
	if err := config.Load("bench", nil, nil, nil, &d.set); err != nil {
		return nil, err
	}
	keys := filepath.Join(dir, "keys")
	d.set.deployment.Partitions, d.set.worker.DataDir = partitions, dir
	d.set.ingress.HTTPAddr, d.set.ingress.KeysFile = "127.0.0.1:0", ingress.KeysIn(keys).Public
	change(&d.set)
	err := ingress.EnsureKeys(keys)
	if err == nil {
		d.token, err = ingress.IssueToken(ingress.KeysIn(keys).Signing, "bench", "trigger runtime", tokenTTL)
	}
	if err == nil {
		d.srv, err = startServer(filepath.Join(dir, "nats"))
	}
	if err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.srv.stop())
	}
	return d, nil
}

// open ensures the streams and starts the ingress.
func (d *deployment) open(ctx context.Context) (err error) {
	log := slog.New(slog.DiscardHandler)
	if d.broker, err = broker.Ensure(ctx, d.srv.conn, d.set.deployment.Settings, log); err != nil {
		return err
	}
	d.ingress = begin(ingress.Part(d.set.ingress, ingress.Deps{Broker: d.broker, Logger: log}, func(addr string) { d.addr = addr }))
	return d.ingress.await()
}

func (d *deployment) stop() error { return errors.Join(d.ingress.stop(), d.srv.stop()) }

// startWorker returns when it serves all partitions.
func (d *deployment) startWorker(cfg worker.Config) (*running, error) {
	r, err := d.beginWorker(cfg)
	if err != nil {
		return nil, err
	}
	return r, r.await()
}

// beginWorker does not wait for it.
func (d *deployment) beginWorker(cfg worker.Config) (*running, error) {
	reg := prometheus.NewRegistry()
	w, err := worker.New(cfg, worker.Deps{Broker: d.broker, Logger: slog.New(slog.DiscardHandler), Registerer: reg})
	if err != nil {
		return nil, err
	}
	r := begin(w.Part())
	r.metrics = reg
	return r, nil
}

// running is a part of triggerd.
type running struct {
	metrics prometheus.Gatherer // nil: none
	ready   chan struct{}
	ended   chan error
	cancel  context.CancelFunc
}

func begin(part lifecycle.Part) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{ready: make(chan struct{}), ended: make(chan error, 1), cancel: cancel}
	go func() {
		r.ended <- lifecycle.Run(ctx, part, lifecycle.Part{Name: "ready", Run: func(ctx context.Context, next func()) error {
			next()
			close(r.ready)
			<-ctx.Done()
			return nil
		}})
	}()
	return r
}

// await waits until it is ready. After an error it runs no more.
func (r *running) await() error {
	select {
	case <-r.ready:
		return nil
	case err := <-r.ended:
		r.cancel()
		return fmt.Errorf("start: %w", err)
	}
}

func (r *running) stop() error {
	r.cancel()
	return <-r.ended
}
