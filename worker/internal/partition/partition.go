package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// Partition is one partition of this process. Its methods are safe for concurrent use; Run is called once.
type Partition struct {
	cfg  Config
	deps Deps
	log  *slog.Logger
	view view

	shelf *snapshot.Shelf

	started atomic.Bool
	wish    atomic.Uint64     // to lead: the number of the call that said so; 0: to follow
	terms   atomic.Uint64     // calls of Lead
	term    atomic.Uint64     // the wish under which it serves, or served last
	turned  chan struct{}     // the wish is another one
	calls   chan func(*actor) // executed by the actor between two steps
	settled chan struct{}     // closed when the partition serves, or will not
	settle  sync.Once
	ended   chan struct{} // closed when Run returns
}

// New does not touch the file or the broker yet. cfg must be valid.
func New(cfg Config, deps Deps) *Partition {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if deps.Metrics == nil {
		deps.Metrics = NewMetrics(nil)
	}
	p := &Partition{cfg: cfg.withDefaults(), deps: deps, calls: make(chan func(*actor)), turned: make(chan struct{}, 1), settled: make(chan struct{}), ended: make(chan struct{})}
	p.log = deps.Logger.With("partition", cfg.Partition)
	if deps.Shelves == nil {
		deps.Shelves = snapshot.New(snapshot.Config{}, snapshot.Deps{Broker: deps.Broker, Logger: deps.Logger, Now: deps.Now})
	}
	p.shelf = deps.Shelves.Of(cfg.Partition, cfg.Path)
	p.view.since = deps.Now()
	p.Lead()
	return p
}

// Run lives the partition's life. It blocks until ctx ends and the partition is drained (nil), it halts (an error that wraps
// a *HaltError), or a failpoint aborts it (any other error). It may be called once.
func (p *Partition) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return fmt.Errorf("run partition %d: it ran already", p.cfg.Partition)
	}
	defer close(p.ended)
	p.deps.Metrics.attach(p)
	defer p.deps.Metrics.detach(p)
	err := p.lives(ctx)
	var halted *HaltError
	switch {
	case err == nil || errors.Is(err, errCrash):
		p.enter(Stopped, err)
	case errors.As(err, &halted):
		p.enter(Halted, err)
	default:
		err = p.halt("unexpected error", "put right what the cause says"+thenResume+", which replays from the last checkpoint", err)
		p.enter(Halted, err)
	}
	return err
}

// enter moves to the next state and writes the one log line of that event.
func (p *Partition) enter(next State, cause error) {
	now := p.deps.Now()
	var before facts
	p.view.update(func(f *facts) {
		before = *f
		f.state, f.since, f.cause = next, now, cause
	})
	if next == Serving || next == Following || next == Stopped || next == Halted {
		p.settle.Do(func() { close(p.settled) })
	}
	if p.deps.Changed != nil {
		p.deps.Changed()
	}
	if before.state == Replaying && next != Draining {
		replayed := before.applied - before.base
		p.deps.Metrics.replayed.WithLabelValues(p.label()).Add(float64(replayed))
	}
	if next == Halted {
		p.deps.Metrics.halts.WithLabelValues(p.label()).Inc()
	}
	attrs := []any{"state", next.String(), "before", before.state.String(), "after", now.Sub(before.since), "applied", before.applied,
		"emitted", before.emitted, "last", before.last}
	if cause != nil {
		p.log.Error("partition changed its state", append(attrs, "cause", cause)...)
		return
	}
	p.log.Info("partition changed its state", attrs...)
}

// State is where the partition stands.
func (p *Partition) State() State { return p.view.read().state }

// Settled is closed when the partition serves or follows for the first time, or has ended without that.
func (p *Partition) Settled() <-chan struct{} { return p.settled }

// Ended is closed when Run has returned.
func (p *Partition) Ended() <-chan struct{} { return p.ended }

// Check is the readiness of the partition: detail for a person, and an error while it does not serve.
func (p *Partition) Check() (detail string, err error) {
	f := p.view.read()
	detail = fmt.Sprintf("%s, applied %d of %d, emitted %d of %d", f.state, f.applied, f.last, f.emitted, f.events)
	switch {
	case f.cause != nil:
		return detail, f.cause
	case f.state == Following && !p.Leading():
	case f.state != Serving:
		err = fmt.Errorf("partition %d is %s", p.cfg.Partition, f.state)
	}
	return detail, errors.Join(err, f.sourceErr, f.emitErr, f.commitErr, f.digestErr)
}

// Status is a partition for the admin page.
type Status struct {
	Partition     int     `json:"partition"`
	State         string  `json:"state"`
	Since         string  `json:"since"`
	Cause         string  `json:"cause,omitempty"`
	Applied       uint64  `json:"applied"`
	Last          uint64  `json:"last"`
	Lag           uint64  `json:"lag_messages"`
	OldestSeconds float64 `json:"oldest_unapplied_seconds"`
	Events        uint64  `json:"events"`
	Emitted       uint64  `json:"emitted"`
	Pending       uint64  `json:"pending_redirects"`
	CheckpointSeq uint64  `json:"checkpoint_seq"`
	CheckpointAge float64 `json:"checkpoint_age_seconds"`
	SnapshotSeq   uint64  `json:"snapshot_seq,omitempty"`         // of the newest one, as far as its owner knows
	SnapshotAge   float64 `json:"snapshot_age_seconds,omitempty"` // since it was made
	Digest        string  `json:"digest,omitempty"`
	DigestSeq     uint64  `json:"digest_seq,omitempty"` // the position at which the digest was taken
}

// Status is the partition at this moment, without a digest.
func (p *Partition) Status() Status {
	f, now := p.view.read(), p.deps.Now()
	s := Status{Partition: p.cfg.Partition, State: f.state.String(), Since: f.since.UTC().Format(time.RFC3339Nano),
		Applied: f.applied, Last: f.last, Lag: f.lag(), OldestSeconds: f.oldest(now).Seconds(), Events: f.events, Emitted: f.emitted,
		Pending: f.pending, CheckpointSeq: f.checkpointSeq, CheckpointAge: f.checkpointAge(now).Seconds(),
		SnapshotSeq: f.snapshot.Seq, SnapshotAge: f.snapshotAge(now).Seconds()}
	if f.cause != nil {
		s.Cause = f.cause.Error()
	}
	return s
}

// ErrNotRunning: the partition has no actor that could answer.
var ErrNotRunning = errors.New("partition is not running")

// Digest is a digest of the whole state, and the position that it reflects. It is computed between two messages, in
// about the time that the next checkpoint will take.
func (p *Partition) Digest(ctx context.Context) (digest, applied uint64, err error) {
	done := make(chan struct{})
	call := func(a *actor) {
		defer close(done)
		head := a.machine.Head()
		applied = head.Applied
		digest, err = a.store.Digest(head)
	}
	select {
	case p.calls <- call:
	case <-p.ended:
		return 0, 0, ErrNotRunning
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	<-done
	return digest, applied, err
}
