package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// base is where a life begins.
type base struct {
	kind     string
	entry    snapshot.Entry // of baseSnapshot
	fallback bool           // the file would do as well
}

// Kinds of base, as the log calls them.
const (
	baseFile     = "file"     // the partition's own
	baseSnapshot = "snapshot" // restored first
	baseLog      = "log"      // from the first message
)

// open decides where to begin and opens the file: the partition's own, one that is restored from a snapshot, or a new one. It returns nil without
// a store when ctx ends.
func (a *actor) open(ctx context.Context) error {
	a.shelf.Tidy()
	if err := a.openLocal(); err != nil {
		return err
	}
	a.enter(Checking, nil)
	useless := make(map[string]error) // snapshots, by object
	pause, restored := backoff{min: minRestorePause, max: maxRestorePause}, ""
	for ctx.Err() == nil {
		b, err := a.choose(ctx, useless)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if b.kind != baseSnapshot {
			if restored == "" {
				restored = b.kind
				if err := a.lookThrough(ctx); err != nil {
					return err
				}
			}
			return a.begin(restored)
		}
		if err := a.restore(ctx, b, useless); err == nil {
			restored = baseSnapshot
			continue // what is there now is judged like any other file
		} else if errors.As(err, new(*HaltError)) {
			return err
		} else if ctx.Err() == nil && !b.fallback && useless[b.entry.Object] == nil {
			pause.wait(ctx)
		}
	}
	return nil
}

// Pauses between attempts to restore.
const (
	minRestorePause = 100 * time.Millisecond
	maxRestorePause = 10 * time.Second
)

// openLocal opens the partition's file, if there is one.
func (a *actor) openLocal() error {
	there, err := store.Exists(a.cfg.Path)
	if err == nil && !there {
		return nil
	}
	return a.openStore()
}

func (a *actor) openStore() error {
	st, err := store.Open(a.cfg.Path, a.storeOptions())
	if err != nil {
		return a.halt("the partition's file cannot be opened", doNotDelete+"put right what the cause says (room on the disk, who may read the file, who else has it open)"+thenResume, err)
	}
	a.store = st
	return nil
}

// lookThrough reads every entry of the partition's own file, about a microsecond each, before anything is derived from it: a damaged key makes a
// user disappear without being noticed, and what follows from that would be emitted. What was restored has been looked through.
func (a *actor) lookThrough(ctx context.Context) error {
	if a.store == nil {
		return nil
	}
	if err := a.store.VerifyWith(ctx.Err); ctx.Err() == nil {
		return err
	}
	return nil
}

// closeStore makes room for another file.
func (a *actor) closeStore() {
	if a.store == nil {
		return
	}
	if err := a.store.Close(); err != nil {
		a.log.Error("partition's file was not closed", "cause", err)
	}
	a.store = nil
}

// local is the last message that the partition's file reflects; zero: none, or there is no file.
func (a *actor) local() mark {
	if a.store == nil {
		return mark{}
	}
	c, _ := a.store.Last()
	return mark{seq: c.Seq, time: c.Time, hash: c.Hash}
}

// begin continues from the file's checkpoint. A new file is made only here, when it is certain that it is to be a new one.
func (a *actor) begin(kind string) error {
	if a.store == nil {
		if err := a.openStore(); err != nil {
			return err
		}
	}
	c, ok := a.store.Last()
	if ok {
		a.last = mark{seq: c.Seq, time: c.Time, hash: c.Hash}
		a.derived, a.frozenSeq = c.Head.Events, c.Seq
	}
	a.ledger = c.Ledger
	a.machine = machine.New(a.cfg.Partition, c.Head, watched{a.store, &a.desk})
	var last uint64
	a.view.update(func(f *facts) {
		f.applied, f.events, f.checkpointSeq, f.pending, f.base = c.Seq, c.Head.Events, c.Seq, c.Head.Pending, c.Seq
		f.keys, f.keysMax = c.Head.KeyCount(), c.Head.Limits.MaxKeys
		f.ledger = c.Ledger
		f.checkpointAt, f.commitErr = time.Time{}, nil
		last = f.last
	})
	a.log.Info("partition begins", "base", kind, "seq", c.Seq, "behind", max(last, c.Seq)-c.Seq, "after", a.deps.Now().Sub(a.born))
	return nil
}

// choose finds the base. It waits for the broker, and for the pointer to the snapshots if it is needed.
func (a *actor) choose(ctx context.Context, useless map[string]error) (b base, err error) {
	have := a.local()
	err = a.patiently(ctx, func(ctx context.Context) (err error) {
		b, err = a.survey(ctx, have, useless)
		return err
	})
	return b, err
}

// survey compares what there is: the log, the file, the snapshots.
func (a *actor) survey(ctx context.Context, have mark, useless map[string]error) (base, error) {
	b, p := a.deps.Broker, a.cfg.Partition
	if err := verifyLog(ctx, b, p); err != nil {
		return base{}, err
	}
	entries, unreadable := a.list(ctx)
	first, last, err := b.Extent(ctx, p) // after the list: whatever a snapshot reflects is in the log by now
	if err != nil {
		return base{}, err
	}
	a.view.update(func(f *facts) { f.last = max(f.last, last) })
	if err := lostTail(last, have, entries); err != nil {
		return base{}, err
	}
	fits := have.seq > 0 && have.seq >= first
	if fits {
		if err := verifyMessage(ctx, b, p, have); err != nil {
			return base{}, err
		}
	}
	best, err := a.fitting(ctx, entries, first, useless)
	switch {
	case err != nil:
		return base{}, err
	case best != nil && (!fits || best.Seq > have.seq+a.cfg.RestoreSpares):
		return base{kind: baseSnapshot, entry: *best, fallback: fits}, nil
	case fits:
		return base{kind: baseFile}, nil
	case unreadable != nil:
		return base{}, fmt.Errorf("there is no file to go on with, and whether there are snapshots cannot be told: %w", unreadable)
	case have.seq == 0 && first <= 1:
		return base{kind: baseLog}, nil
	}
	return base{}, a.nothingFits(have, entries, first, useless)
}

// list reads the pointer to the snapshots, those of other logs left out.
func (a *actor) list(ctx context.Context) ([]snapshot.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.BrokerTimeout)
	defer cancel()
	entries, err := a.shelf.List(ctx)
	if err != nil {
		return nil, err
	}
	ours := entries[:0]
	for _, e := range entries {
		if e.LogID == a.deps.Broker.LogID(a.cfg.Partition) {
			ours = append(ours, e)
		}
	}
	return ours, nil
}

// lostTail: the log ends before what a file or a snapshot of it reflects, so sequences would be used twice.
func lostTail(last uint64, have mark, entries []snapshot.Entry) error {
	if have.seq > last {
		return &foreign{what: fmt.Sprintf("the log lost its tail: it ends at %d, applied is %d", last, have.seq), do: restoreLog}
	}
	for _, e := range entries {
		if e.Seq > last {
			return &foreign{what: fmt.Sprintf("the log lost its tail: it ends at %d, snapshot %s was made at %d", last, e.Object, e.Seq), do: restoreLog}
		}
	}
	return nil
}

// fitting is the newest snapshot whose message is in the log; nil: none is.
func (a *actor) fitting(ctx context.Context, entries []snapshot.Entry, first uint64, useless map[string]error) (*snapshot.Entry, error) {
	for i := range entries {
		e := &entries[i]
		if useless[e.Object] != nil || e.Seq < first {
			continue
		}
		err := verifyMessage(ctx, a.deps.Broker, a.cfg.Partition, mark{seq: e.Seq, time: e.Time, hash: e.Hash})
		var f *foreign
		if errors.As(err, &f) {
			f.what = "snapshot " + e.Object + " is of this log and does not fit it: " + f.what
		}
		return e, err
	}
	return nil, nil
}

const restoreAnything = "put the partition's file back (one that was set aside lies beside it), or restore the snapshots, or the log with its beginning (deploy/BACKUP.md)" + thenResume

// nothingFits says why there is nothing to begin with.
func (a *actor) nothingFits(have mark, entries []snapshot.Entry, first uint64, useless map[string]error) error {
	what := "there is no file"
	if have.seq > 0 {
		what = fmt.Sprintf("message %d, the last one applied, is not in the log any more", have.seq)
	}
	var unfit []string
	for _, e := range entries {
		if err := useless[e.Object]; err != nil {
			unfit = append(unfit, err.Error())
		} else {
			unfit = append(unfit, fmt.Sprintf("snapshot %s was made at %d", e.Object, e.Seq))
		}
	}
	what += ", there is no snapshot that fits"
	if len(unfit) > 0 {
		what += " (" + strings.Join(unfit, "; ") + ")"
	}
	what += fmt.Sprintf(", and the log does not begin with its first message any more, but with %d", first)
	return &foreign{what: what, do: restoreAnything}
}

// restore replaces the partition's file by a snapshot. If it cannot, the old file is open again.
func (a *actor) restore(ctx context.Context, b base, useless map[string]error) error {
	if a.State() != Restoring {
		a.enter(Restoring, nil)
	}
	e, begun, from := b.entry, time.Now(), a.local().seq
	a.closeStore()
	err := a.shelf.Restore(ctx, e)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case err == nil:
		a.log.Info("snapshot restored", "object", e.Object, "seq", e.Seq, "bytes", e.Bytes, "compressed_bytes", e.CompressedBytes,
			"duration", time.Since(begun), "in_place_of", from)
		a.unrestored.Over(a.log, "snapshots can be restored again")
		a.view.update(func(f *facts) { f.sourceErr = nil })
	case errors.Is(err, store.ErrVersion):
		return a.halt("the snapshot cannot be read by this version", "run a worker of the build that made it, or a newer one", err)
	default:
		if errors.Is(err, snapshot.ErrDamaged) || b.fallback {
			useless[e.Object] = err
		}
		a.unrestored.Again(a.log, slog.LevelError, "snapshot was not restored", "object", e.Object, "cause", err, "damaged", errors.Is(err, snapshot.ErrDamaged), "file_fits", b.fallback)
		a.view.update(func(f *facts) { f.sourceErr = err })
	}
	return errors.Join(err, a.openLocal())
}
