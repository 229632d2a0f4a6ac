package adopt

import (
	"context"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/worker/internal/snapshot"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// fitness is how a checkpoint stands to the log.
type fitness int

const (
	lost  fitness = iota // it reflects messages that are no more
	old                  // its message was trimmed away, so that nothing can be told, or begun with
	whole                // its message is there
)

// fit compares the message that a checkpoint stands at with the log.
func (r *run) fit(ctx context.Context, id store.Identity) (fitness, error) {
	if id.Seq > r.report.Found {
		return lost, nil
	}
	if id.Seq < r.first {
		return old, nil
	}
	msg, err := r.Broker.Message(ctx, r.Partition, id.Seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // as a server says that is about to stop; nothing may follow from it
		return lost, fmt.Errorf("message %d is within the log, and the broker cannot read it: %w: try again", id.Seq, err)
	case err != nil:
		return lost, err
	case msg.Time.UnixNano() == id.Time && xxhash.Sum64(msg.Data) == id.Hash:
		return whole, nil
	}
	return lost, nil
}

// lookAtSnapshots finds the newest one that fits, and those that do not. Those of another log do no harm.
func (r *run) lookAtSnapshots(ctx context.Context) error {
	r.shelf = snapshot.New(snapshot.Config{}, snapshot.Deps{Broker: r.Broker}).Of(r.Partition, r.Path+scratchSuffix)
	entries, err := r.shelf.List(ctx)
	if err != nil {
		return err
	}
	r.cut = make(map[string]bool)
	for _, e := range entries {
		if e.LogID != r.Broker.LogID(r.Partition) {
			continue
		}
		r.see(e.Seq, "a snapshot stands")
		fitness, err := r.fit(ctx, e.Identity)
		switch {
		case err != nil:
			return err
		case fitness == lost:
			r.cut[e.Object] = true
		case fitness == whole:
			r.snapshots = append(r.snapshots, e)
		}
	}
	return nil
}

// lay puts what the replay begins with into the scratch file: what stands furthest of the file and the snapshots that fit and can be read, because a worker may
// begin with it, and EVENTS-p must hold what it was made with. Without any the scratch file is not there, and the log must have its beginning.
func (r *run) lay(ctx context.Context, scratch string) error {
	file := r.file != nil && r.fits == whole
	for _, e := range r.snapshots {
		if file && r.file.Seq >= e.Seq {
			break
		}
		err := r.shelf.Restore(ctx, e)
		if err == nil {
			r.Say("replaying from the snapshot at %d", e.Seq)
			return nil
		}
		if !errors.Is(err, snapshot.ErrDamaged) {
			return err
		}
		r.Say("%v", err)
	}
	if file {
		r.Say("replaying from the file")
		return copyFile(r.Path, scratch)
	}
	if r.first > 1 {
		return errNoBase
	}
	r.Say("replaying from the first message")
	return nil
}

var errNoBase = errors.New("nothing to begin with: neither the file nor a snapshot fits, and the log does not begin with its first message: " +
	"name a -data-dir whose file fits, or restore the snapshots")
