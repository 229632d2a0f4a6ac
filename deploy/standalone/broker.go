package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Bounds of the embedded server.
const (
	brokerStart = time.Minute // for reading what is on disk after a crash
	maxMemory   = 64 << 20    // bytes of streams in memory: there are only short-lived consumers

	// maxStore is no bound in practice: each stream has its own, and a store that may hold less than what lies there would not
	// bring its streams back.
	maxStore = 1 << 50
)

var errBrokerEnded = errors.New("broker ended by itself")

// embedded is the nats-server of this process.
type embedded struct {
	server   *server.Server
	log      *slog.Logger
	settings broker.Settings
	dir      string
	listens  bool
}

// newBroker prepares the server; run starts it.
func newBroker(cfg Config, log *slog.Logger) (*embedded, error) {
	opts := &server.Options{
		ServerName:         "triggerd-standalone",
		JetStream:          true,
		StoreDir:           cfg.natsDir(),
		SyncAlways:         true,
		JetStreamMaxMemory: maxMemory,
		JetStreamMaxStore:  maxStore,
		MaxPayload:         broker.MaxMessageBytes,
		DontListen:         cfg.NATSAddr == "",
		NoSigs:             true, // or it would end the process on a signal, without draining
		NoSystemAccount:    true,
	}
	if err := listenOn(opts, cfg.NATSAddr); err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make broker: %w", err)
	}
	srv.SetLoggerV2(natsLog{log}, false, false, false)
	return &embedded{server: srv, log: log, settings: cfg.Process.Deployment.Settings, dir: cfg.DataDir, listens: cfg.NATSAddr != ""}, nil
}

func listenOn(opts *server.Options, addr string) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("read -nats-addr: %w", err)
	}
	opts.Host = host
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("read -nats-addr: %w", err)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return nil
}

// run is the server as a part of the program. It stops last of what uses the disk: Shutdown alone would return before the files are complete.
func (b *embedded) run(ctx context.Context, ready func()) error {
	b.server.Start()
	ended := make(chan struct{})
	go func() { b.server.WaitForShutdown(); close(ended) }()
	defer func() { b.server.Shutdown(); <-ended }()
	if !b.server.ReadyForConnections(brokerStart) || !b.server.JetStreamEnabled() {
		return fmt.Errorf("start broker: not ready within %v; its log says why", brokerStart)
	}
	b.log.Info("broker started", "durability", durability, "listens", b.url())
	if b.listens {
		b.log.Warn("broker takes connections without authentication", "addr", b.server.Addr().String())
	}
	b.warnOfSmallDisk()
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		return errBrokerEnded
	}
}

// dial connects inside of the process, without a port.
func (b *embedded) dial() (*nats.Conn, error) {
	return nats.Connect("", append(process.ConnOptions("standalone", b.log), nats.InProcessServer(b.server))...)
}

// url is where the nats CLI finds the server; empty if it does not listen.
func (b *embedded) url() string {
	if !b.listens {
		return ""
	}
	return "nats://" + b.server.Addr().String()
}

// durability is what an acknowledgement of this broker means.
const durability = "sync always, 1 replica: a trigger is on disk before it is answered"

// show makes the durability mode visible, as a check and as a metric.
func (b *embedded) show(env *process.Env) error {
	env.Health.Register("durability", func() (string, error) {
		if !b.server.JetStreamEnabled() {
			return durability, errors.New("jetstream is disabled")
		}
		return durability, nil
	})
	if err := telemetry.RegisterDisk(env.Registry, "broker", b.dir); err != nil {
		return err
	}
	return env.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "triggerd_broker_sync_always",
		Help: "1 if the broker acknowledges a record only when it is on disk (sync_interval: always).",
	}, func() float64 { return 1 }))
}

// warnOfSmallDisk tells early that the streams may grow beyond what is free.
func (b *embedded) warnOfSmallDisk() {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.dir, &fs); err != nil {
		return
	}
	if free, may := int64(fs.Bavail)*int64(fs.Bsize), b.settings.ReservedBytes(); free < may {
		b.log.Warn("disk has less room than the streams may take", "free_bytes", free, "streams_max_bytes", may)
	}
}

// natsLog writes the server's log into ours. What it calls a notice is of interest to those who look for a fault.
type natsLog struct{ log *slog.Logger }

func (l natsLog) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "broker says", "text", fmt.Sprintf(format, v...))
	}
}

func (l natsLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l natsLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l natsLog) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l natsLog) Fatalf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l natsLog) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l natsLog) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
