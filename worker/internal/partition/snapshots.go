package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// keeper makes the partition's snapshots and trims its log, in a goroutine of its own. Its fields belong to that.
type keeper struct {
	*actor
	known  bool           // newest and since are
	newest snapshot.Entry // Object is empty: there is none
	holds  bool           // the log is not trimmed up to the newest one, since an older one needs it, or it is the only one
	since  time.Time      // when it was made, by a clock that is not set
	bytes  int64          // of the log, applied when it was made
	again  time.Time      // not before this, after a failure
	pause  backoff

	trouble telemetry.Trouble
}

// fullLog is the part of a log that may be in use before snapshots are made just to trim it. One that grew full while nobody applied it takes nothing more that
// would make them due.
const fullLog = 0.75

// Pauses after a snapshot that came to nothing.
const (
	minKeepPause = 10 * time.Second
	maxKeepPause = 5 * time.Minute
)

// keepSnapshots starts that. end aborts a snapshot that is in the making; what that leaves to tidy up may take a moment longer.
func (a *actor) keepSnapshots() (end func()) {
	if a.cfg.SnapshotEvery < 0 {
		return func() {}
	}
	ctx, end := context.WithCancel(a.work)
	k := &keeper{actor: a, pause: backoff{min: minKeepPause, max: maxKeepPause}}
	a.wg.Go(func() { k.run(ctx) })
	return end
}

func (k *keeper) run(ctx context.Context) {
	t := time.NewTicker(min(k.cfg.PollEvery, k.cfg.SnapshotEvery))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !k.mayKeep() {
			k.known = false // whoever does now makes them
		} else if now := time.Now(); !now.Before(k.again) {
			k.settle(ctx, k.tend(ctx, now))
		}
	}
}

// mayKeep says whether this partition makes snapshots and trims: the one that serves does. That two do for a moment is harmless.
func (k *keeper) mayKeep() bool { return k.Serving() }

// settle notes how an attempt ended.
func (k *keeper) settle(ctx context.Context, err error) {
	if err == nil {
		k.trouble.Over(k.log, "snapshots can be made again")
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	if snapshot.NoFault(err) {
		k.known = false
		return
	}
	if errors.Is(err, snapshot.ErrAborted) {
		err = fmt.Errorf("%w: %w", errCrash, err)
	}
	k.suspect(err)
	k.again = time.Now().Add(k.pause.pause())
	k.trouble.Again(k.log, slog.LevelError, "snapshot was not made, or log not trimmed", "cause", err, "again", k.again)
}

// tend does what is due.
func (k *keeper) tend(ctx context.Context, now time.Time) error {
	if !k.known {
		entries, err := k.list(ctx)
		if err != nil {
			return err
		}
		k.note(entries, now)
		if err := k.trim(ctx, entries); err != nil { // a crash may have come in between
			return err
		}
	}
	if !k.due(now) {
		return nil
	}
	return k.make(ctx)
}

// due says whether it is time for another snapshot, and there is something for it.
func (k *keeper) due(now time.Time) bool {
	switch f := k.view.read(); {
	case f.checkpointSeq == 0 || f.checkpointSeq < k.newest.Seq:
		return false
	case f.logFull():
		return f.checkpointSeq > k.newest.Seq || k.holds
	case f.checkpointSeq == k.newest.Seq:
		return false
	case k.newest.Object == "":
		return true
	default:
		return now.Sub(k.since) >= k.cfg.SnapshotEvery || k.logged.Load()-k.bytes >= k.cfg.SnapshotLogBytes
	}
}

// note remembers, and shows, what is there. The wall clock says how old it is, and may be wrong: so it counts for no more than one interval.
func (k *keeper) note(entries []snapshot.Entry, now time.Time) {
	k.known, k.newest, k.holds, k.since, k.bytes = true, snapshot.Entry{}, false, now, k.logged.Load()
	if n := len(entries); n > 0 {
		k.newest = entries[0]
		k.holds = n < snapshot.Kept || entries[n-1].Seq < k.newest.Seq
		k.since = now.Add(-min(max(k.deps.Now().Sub(k.newest.MadeAt), 0), k.cfg.SnapshotEvery))
	}
	k.view.update(func(f *facts) { f.snapshots, f.snapshot = len(entries), k.newest })
}

// hurry says whether the log grows so fast, or is so full, that a snapshot must not take its time: what is behind the last one must not fill the log.
func (k *keeper) hurry() bool {
	f := k.view.read()
	return f.logFull() || k.logged.Load()-k.bytes >= 2*k.cfg.SnapshotLogBytes
}

// logFull says whether the log will soon refuse.
func (f *facts) logFull() bool {
	return f.logMax > 0 && float64(f.logBytes) > fullLog*float64(f.logMax)
}

// make makes a snapshot and trims.
func (k *keeper) make(ctx context.Context) error {
	begun, bytes := time.Now(), k.logged.Load()
	kept, err := k.shelf.Make(ctx, k.store, &snapshot.Occasion{Newest: k.newest.Object, Hurry: k.hurry, Twin: k.holds})
	if err != nil {
		return err
	}
	k.note(kept, time.Now())
	k.bytes = bytes
	k.pause.reset()
	e := k.newest
	k.log.Info("snapshot made", "object", e.Object, "seq", e.Seq, "bytes", e.Bytes, "compressed_bytes", e.CompressedBytes, "duration", time.Since(begun))
	return k.trim(ctx, kept)
}

func (k *keeper) trim(ctx context.Context, kept []snapshot.Entry) error {
	seq, err := k.shelf.Trim(ctx, kept)
	if err != nil {
		if errors.Is(err, snapshot.ErrAborted) {
			return err
		}
		return fmt.Errorf("after a snapshot: %w", err)
	}
	var before uint64
	k.view.update(func(f *facts) { before, f.trimmed = f.trimmed, max(f.trimmed, seq) })
	if seq > before {
		k.log.Info("log trimmed", "to", seq)
	}
	return nil
}
