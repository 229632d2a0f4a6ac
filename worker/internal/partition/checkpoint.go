package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/triggerd/triggerd/worker/internal/store"
)

// generation is the frozen part of the overlay on its way into the file.
type generation struct {
	seq     uint64
	events  uint64    // all up to this number must be in EVENTS-p before the commit
	since   time.Time // when the first message of it was applied
	running bool      // a commit is under way
	again   time.Time // not before this, after an error
	pause   backoff
}

// Pauses between attempts to commit.
const (
	minCommitPause = 100 * time.Millisecond
	maxCommitPause = 10 * time.Second
)

// checkpoint freezes and commits what is due.
func (a *actor) checkpoint(now time.Time) {
	if a.generation == nil && a.last.seq > a.frozenSeq && (now.Sub(a.dirtySince) >= a.cfg.CheckpointEvery || a.overlayFull()) {
		a.freeze()
	}
	a.commit(now)
	if a.generation != nil {
		a.pacer.hurried.Store(a.cfg.urgent(a.store.Dirty()))
	}
}

// overlayFull says whether what is applied and not frozen has reached its limits.
func (a *actor) overlayFull() bool {
	users, bytes := a.store.Dirty()
	return users >= a.cfg.CheckpointUsers || bytes >= a.cfg.CheckpointBytes
}

// freeze ends the active generation at the last message.
func (a *actor) freeze() {
	a.store.Freeze(store.Checkpoint{
		Identity: store.Identity{LogID: a.deps.Broker.LogID(a.cfg.Partition), Partition: a.cfg.Partition,
			Seq: a.last.seq, Time: a.last.time, Hash: a.last.hash},
		Head:       a.machine.Head(),
		Ledger:     a.ledger,
		EmittedSeq: a.reached,
	})
	a.generation = &generation{seq: a.last.seq, events: a.derived, since: a.dirtySince,
		pause: backoff{min: minCommitPause, max: maxCommitPause}}
	a.frozenSeq, a.dirtySince = a.last.seq, time.Time{}
	a.showAge()
}

// showAge shows since when something is applied that no checkpoint holds.
func (a *actor) showAge() {
	since := a.dirtySince
	if a.generation != nil {
		since = a.generation.since
	}
	a.view.update(func(f *facts) { f.checkpointAt = since })
}

// commit starts writing the frozen generation once all of its events are acknowledged.
func (a *actor) commit(now time.Time) {
	g := a.generation
	if g == nil || g.running || a.outbox.emitted < g.events || now.Before(g.again) {
		return
	}
	a.store.SetEmitted(a.reached)
	g.running = true
	a.spawn(func(context.Context) { a.committed <- a.write() })
}

// write runs beside the actor.
func (a *actor) write() error {
	if err := a.fail(StepCheckpointBegin); err != nil {
		return err
	}
	if err := a.writeAlone(); err != nil {
		return err
	}
	return a.fail(StepCheckpointCommitted)
}

// writeAlone writes while no other partition of the process does.
func (a *actor) writeAlone() error {
	if disk := a.deps.Disk; disk != nil {
		disk.Lock()
		defer disk.Unlock()
	}
	begun := a.deps.Now()
	a.pacer.begin()
	err := a.store.Commit()
	if err == nil {
		a.deps.Metrics.commitSeconds.WithLabelValues(a.label()).Observe(a.deps.Now().Sub(begun).Seconds())
	}
	return err
}

// commitEnded notes a checkpoint, or tries again later.
func (a *actor) commitEnded(err error) error {
	if errors.Is(err, errCrash) || unfit(err) != "" {
		return err
	}
	now, g := a.deps.Now(), a.generation
	g.running = false
	if err != nil {
		g.again = now.Add(g.pause.pause())
		a.deps.Metrics.commitFailures.WithLabelValues(a.label()).Inc()
		a.view.update(func(f *facts) { f.commitErr = fmt.Errorf("commit checkpoint: %w", err) })
		a.uncommitted.Again(a.log, slog.LevelError, "checkpoint was not written", "seq", g.seq, "cause", err, "again", g.again)
		return nil
	}
	a.uncommitted.Over(a.log, "checkpoints are written again", "seq", g.seq)
	a.store.Release()
	a.generation = nil
	a.view.update(func(f *facts) { f.checkpointSeq, f.commitErr = g.seq, nil })
	a.showAge()
	return nil
}

// checkpointDue is when the actor has to look after checkpoints without being called; zero = not by itself.
func (a *actor) checkpointDue() time.Time {
	switch g := a.generation; {
	case g != nil && !g.running && a.outbox.emitted >= g.events:
		return g.again
	case g == nil && a.last.seq > a.frozenSeq:
		return a.dirtySince.Add(a.cfg.CheckpointEvery)
	}
	return time.Time{}
}

// storeOptions make the store refuse a file of another log, and let a failpoint strike inside of a commit.
func (a *actor) storeOptions() store.Options {
	return store.Options{LogID: a.deps.Broker.LogID(a.cfg.Partition), Partition: a.cfg.Partition,
		MaxSize: a.cfg.FileBytes, CacheBytes: a.cfg.CacheBytes, Breathe: a.pacer.breathe,
		Failpoint: func(string) error { return a.fail(StepCheckpointWriting) }}
}
