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
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/shared/tracing"
	"github.com/triggerd/triggerd/worker/internal/control"
	"github.com/triggerd/triggerd/worker/internal/membership"
	"github.com/triggerd/triggerd/worker/internal/partition"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
	"github.com/triggerd/triggerd/worker/internal/trail"
)

// Deps is what a worker works with. Broker is mandatory.
type Deps struct {
	Broker     *broker.Broker
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: metrics work, but are not shown
	Health     *lifecycle.Health     // gets a check for each partition; may be nil
	Now        func() time.Time      // nil: time.Now
	Tracer     *tracing.Tracer       // nil: spans go nowhere
}

// Worker owns its share of a deployment's partitions.
type Worker struct {
	cfg     Config
	deps    Deps
	metrics metrics
	parts   *partition.Metrics
	shelves *snapshot.Shelves
	members atomic.Pointer[membership.Membership] // nil before Run
	orders  *control.Orders
	home    string                  // directory of the partitions' files; of Run
	trail   *trail.Trail            // of Run
	told    chan struct{}           // closed when it is known what the former run left
	meets   func(p int, seq uint64) // if set, called while a message is marked, before it is applied. For tests
	passed  chan suspect            // messages that were under suspicion and did no harm
	ready   chan struct{}
	settled sync.Once

	mu         sync.Mutex
	partitions map[int]*held
	owners     []string // of each partition, as this worker sees it; nil: not known yet
	former     []string // what owners was before; nil: nothing
	standbys   []string // of each partition; empty: none
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
	if deps.Now == nil {
		deps.Now = time.Now
	}
	w := &Worker{cfg: cfg, deps: deps, parts: partition.NewMetrics(deps.Registerer),
		orders: control.New(control.Config{}, control.Deps{Broker: deps.Broker, Logger: deps.Logger}),
		told:   make(chan struct{}), passed: make(chan suspect, maxPassed), ready: make(chan struct{}), partitions: make(map[int]*held)}
	newOrderGauges(deps.Registerer, w)
	if err := telemetry.RegisterDisk(deps.Registerer, "worker", cfg.DataDir); err != nil {
		return nil, err
	}
	w.shelves = snapshot.New(snapshot.Config{Rate: int64(cfg.SnapshotRate), Share: cfg.SnapshotShare, MaxBytes: int64(cfg.SnapshotMaxBytes)},
		snapshot.Deps{Broker: deps.Broker, Logger: deps.Logger, Metrics: snapshot.NewMetrics(deps.Registerer), Now: deps.Now})
	w.metrics = newMetrics(deps.Registerer, w.count)
	for p := range deps.Broker.Partitions() {
		deps.Health.Register(fmt.Sprintf("partition %d", p), func() (string, error) { return w.check(p) })
	}
	deps.Health.Register("members", w.checkMembers)
	return w, nil
}

// Run owns partitions until ctx ends, and returns when others have taken over or their time is up, and all partitions here are drained.
func (w *Worker) Run(ctx context.Context) error {
	defer w.settle()
	home, err := w.cfg.openHome()
	if err != nil {
		return err
	}
	defer home.close()
	w.home = home.dir
	if w.trail, err = trail.Open(home.dir, w.deps.Broker.Partitions()); err != nil {
		return err
	}
	defer w.trail.Close()
	members := w.join(home)
	w.members.Store(members)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { members.Run(running) })
	wg.Go(func() { w.orders.Run(running) })
	wg.Go(func() { w.testify(running, home.name) })
	newSupervisor(w, members).run(ctx)
	stop()
	wg.Wait()
	if err := members.Leave(context.WithoutCancel(ctx)); err != nil {
		w.deps.Logger.Warn("worker left without deleting its key", "cause", err)
	}
	return nil
}

// join makes this process a member; it is one from when its membership runs.
func (w *Worker) join(h *home) *membership.Membership {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	id := newID()
	if w.cfg.Name == "" {
		w.cfg.Name = id
	}
	log := w.deps.Logger.With("worker", id)
	log.Info("worker starts", "home", h.name, "host", host)
	return membership.New(membership.Config{Self: membership.Member{ID: id, Home: h.name, Host: host, Started: w.deps.Now().UTC()}},
		membership.Deps{Broker: w.deps.Broker, Logger: log, Registerer: w.deps.Registerer, Now: w.deps.Now})
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

// Ready is closed when the members are known and every partition that falls to this worker serves, or has halted, for the first time; at the
// latest when Run returns.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

func (w *Worker) settle() { w.settled.Do(func() { close(w.ready) }) }

// config is partition p's share of the settings.
func (w *Worker) config(p int) partition.Config {
	return partition.Config{
		Partition:        p,
		Path:             filepath.Join(w.home, fmt.Sprintf("partition-%d.db", p)),
		Writer:           w.cfg.Name,
		CheckpointEvery:  w.cfg.CheckpointEvery,
		CheckpointUsers:  w.cfg.CheckpointUsers,
		CheckpointBytes:  w.share(w.cfg.OverlayBytes), // of the generation that is committed and of the next one each
		CacheBytes:       w.share(w.cfg.CacheBytes),   // the store keeps two halves
		EmitEvery:        w.cfg.EmitEvery,
		FileBytes:        int64(w.cfg.PartitionMaxBytes),
		SnapshotEvery:    w.cfg.SnapshotEvery,
		SnapshotLogBytes: min(int64(w.cfg.SnapshotLogBytes), w.deps.Broker.Settings().TriggersMaxBytes/logParts),
		RestoreSpares:    w.cfg.RestoreSpares,
		DigestEvery:      w.cfg.DigestEvery,
		HaltAfter:        w.cfg.HaltAfter,
		DrainTimeout:     w.cfg.DrainTimeout,
	}
}

// logParts is how many of what makes a snapshot due must fit into a log: it holds what two kept snapshots need, and what is appended while a third is made.
const logParts = 8

// share is half of one partition's part of a size for all.
func (w *Worker) share(all config.Bytes) int64 {
	return max(1, int64(all)/int64(w.deps.Broker.Partitions())/2)
}

// all is every partition that is here, in order.
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

// check is the readiness of partition p. One that is another worker's is no fault of this one.
func (w *Worker) check(p int) (string, error) {
	w.mu.Lock()
	h, owners := w.partitions[p], w.owners
	w.mu.Unlock()
	order := w.orders.Of(p)
	switch {
	case order.Paused():
		return order.PausedBy(), nil
	case owners != nil && owners[p] != w.id() && h != nil && h.State() == partition.Following:
		detail, err := h.Check()
		return "owned by " + owners[p] + "; here " + detail, err
	case owners == nil:
		return "not started", fmt.Errorf("partition %d is not started", p)
	case owners[p] != w.id():
		return "owned by " + owners[p], nil
	case h == nil:
		return "not started", fmt.Errorf("partition %d is not started", p)
	}
	return h.Check()
}

func (w *Worker) checkMembers() (string, error) {
	m := w.members.Load()
	if m == nil {
		return "", errNotJoined
	}
	return m.Check()
}

var errNotJoined = errors.New("not joined yet")

// id is this process's among the members; empty before Run.
func (w *Worker) id() string {
	if m := w.members.Load(); m != nil {
		return m.ID()
	}
	return ""
}
