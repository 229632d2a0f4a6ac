package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// Deps is what a worker works with. Broker is mandatory.
type Deps struct {
	Broker     *broker.Broker
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: metrics work, but are not shown
	Health     *lifecycle.Health     // gets a check for each partition; may be nil
	Now        func() time.Time      // nil: time.Now
}

// Worker owns all partitions of a deployment.
type Worker struct {
	cfg     Config
	deps    Deps
	metrics *partition.Metrics
	ready   chan struct{}

	mu         sync.Mutex
	partitions map[int]*held
	running    sync.WaitGroup
}

// held is a partition that runs, or has ended by itself.
type held struct {
	*partition.Partition
	stop context.CancelFunc
}

// New does not start anything.
func New(cfg Config, deps Deps) (*Worker, error) {
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure worker: %w", err)
	}
	if deps.Broker == nil || cfg.DataDir == "" {
		return nil, errors.New("configure worker: broker and data directory are mandatory")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	w := &Worker{cfg: cfg, deps: deps, metrics: partition.NewMetrics(deps.Registerer), ready: make(chan struct{}), partitions: make(map[int]*held)}
	for p := range deps.Broker.Partitions() {
		deps.Health.Register(fmt.Sprintf("partition %d", p), func() (string, error) { return w.check(p) })
	}
	return w, nil
}

// Run owns all partitions until ctx ends, and returns when all of them are drained.
func (w *Worker) Run(ctx context.Context) error {
	if err := os.MkdirAll(w.dir(), 0o700); err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	for p := range w.deps.Broker.Partitions() {
		w.start(ctx, p)
	}
	go w.watchReady()
	<-ctx.Done()
	w.running.Wait()
	<-w.ready
	return nil
}

// Part is the worker as a part of a program. It is ready when Ready is.
func (w *Worker) Part() lifecycle.Part { return lifecycle.Part{Name: "worker", Run: w.run} }

func (w *Worker) run(ctx context.Context, ready func()) error {
	told := make(chan struct{})
	defer func() { <-told }()
	go func() {
		defer close(told)
		select {
		case <-w.ready:
			ready()
		case <-ctx.Done():
		}
	}()
	return w.Run(ctx)
}

// Ready is closed when every partition serves for the first time, or has halted.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// start owns partition p until ctx ends or stop is called.
func (w *Worker) start(ctx context.Context, p int) {
	ctx, stop := context.WithCancel(ctx)
	h := &held{stop: stop, Partition: partition.New(w.config(p), partition.Deps{Broker: w.deps.Broker, Logger: w.deps.Logger,
		Metrics: w.metrics, Now: w.deps.Now})}
	w.mu.Lock()
	w.partitions[p] = h
	w.mu.Unlock()
	w.running.Go(func() {
		defer stop()
		_ = h.Run(ctx) // logged and shown by the partition itself
	})
}

// config is partition p's share of the settings.
func (w *Worker) config(p int) partition.Config {
	return partition.Config{
		Partition:       p,
		Path:            filepath.Join(w.dir(), fmt.Sprintf("partition-%d.db", p)),
		Writer:          w.cfg.Name,
		CheckpointEvery: w.cfg.CheckpointEvery,
		CheckpointUsers: w.cfg.CheckpointUsers,
		CheckpointBytes: w.share(w.cfg.OverlayBytes), // of the generation that is committed and of the next one each
		CacheBytes:      w.share(w.cfg.CacheBytes),   // the store keeps two halves
		DrainTimeout:    w.cfg.DrainTimeout,
	}
}

// share is half of one partition's part of a size for all.
func (w *Worker) share(all config.Bytes) int64 {
	return max(1, int64(all)/int64(w.deps.Broker.Partitions())/2)
}

func (w *Worker) dir() string { return filepath.Join(w.cfg.DataDir, "worker") }

// watchReady ends when every partition has settled, which each does at the latest when it ends.
func (w *Worker) watchReady() {
	for _, h := range w.all() {
		<-h.Settled()
	}
	close(w.ready)
}

// all is every partition, in order.
func (w *Worker) all() []*held {
	w.mu.Lock()
	defer w.mu.Unlock()
	var hs []*held
	for p := range w.deps.Broker.Partitions() {
		if h, ok := w.partitions[p]; ok {
			hs = append(hs, h)
		}
	}
	return hs
}

// check is the readiness of partition p.
func (w *Worker) check(p int) (string, error) {
	w.mu.Lock()
	h, ok := w.partitions[p]
	w.mu.Unlock()
	if !ok {
		return "not started", fmt.Errorf("partition %d is not started", p)
	}
	return h.Check()
}
