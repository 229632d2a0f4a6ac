package adopt

import (
	"context"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// fitness is how a checkpoint stands to the log, and to EVENTS-p.
type fitness int

const (
	lost  fitness = iota // it reflects messages that are no more
	old                  // its message was trimmed away, so that nothing can be told, or begun with
	ahead                // its message is there; it was made with events that EVENTS-p lacks, so whoever goes on from it does not derive them
	whole                // its message is there, and its events are
)

// fitted is a snapshot and how it stands.
type fitted struct {
	snapshot.Entry
	fits fitness
}

// fit compares what a checkpoint was made with with what there is: the message that it stands at, and its last event and a sequence of EVENTS-p not before it.
func (r *run) fit(ctx context.Context, id store.Identity, number, seq uint64) (fitness, error) {
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
	case msg.Time.UnixNano() != id.Time || xxhash.Sum64(msg.Data) != id.Hash:
		return lost, nil
	case number > r.events.number || seq > r.events.seq:
		return ahead, nil
	}
	return whole, nil
}

// lookAtSnapshots finds those of this log. Those of another log do no harm.
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
		fits, err := r.fit(ctx, e.Identity, e.Events, e.EmittedSeq)
		if err != nil {
			return err
		}
		r.snapshots = append(r.snapshots, fitted{e, fits})
	}
	r.countAsLost(lost)
	return nil
}

// lay puts what the replay begins with into the scratch file: what stands furthest of the file and the snapshots that are whole and can be read. Without any the
// scratch file is not there, and the log must have its beginning. Then what is ahead has to go: a worker would begin with it.
func (r *run) lay(ctx context.Context, scratch string) error {
	found, err := r.layOf(ctx, whole, scratch)
	if err != nil {
		return err
	}
	if !found && r.first > 1 {
		return r.layAhead(ctx, scratch)
	}
	if !found {
		r.Say("replaying from the first message")
	}
	r.countAsLost(ahead)
	return nil
}

// layAhead begins with what is ahead, because nothing else will do, if the operator wants that.
func (r *run) layAhead(ctx context.Context, scratch string) error {
	number, seq := r.furthest()
	switch {
	case seq == 0:
		return errNoBase
	case !r.EventsLost:
		return fmt.Errorf("%s ends at event %d (message %d), and whatever there is to begin with was made with more, up to event %d (message %d): restore it; or, if it cannot be, "+
			"go on without what it lacks, which those who have not read it will never get: -events-lost", broker.EventsStream(r.Partition), r.events.number, r.events.seq, number, seq)
	}
	r.markTo = seq
	found, err := r.layOf(ctx, ahead, scratch)
	if err == nil && !found {
		err = errNoBase
	}
	return err
}

// layOf is lay with what stands in one way to log and events.
func (r *run) layOf(ctx context.Context, fits fitness, scratch string) (found bool, err error) {
	file := r.file != nil && r.fits == fits
	for _, e := range r.snapshots {
		if e.fits != fits {
			continue
		}
		if file && r.file.Seq >= e.Seq {
			break
		}
		err := r.shelf.Restore(ctx, e.Entry)
		if err == nil {
			r.Say("replaying from the snapshot at %d", e.Seq)
			return true, nil
		}
		if !errors.Is(err, snapshot.ErrDamaged) {
			return false, err
		}
		r.Say("%v", err)
	}
	if file {
		r.Say("replaying from the file")
		return true, copyFile(r.Path, scratch)
	}
	return false, nil
}

// furthest is what EVENTS-p must hold for whatever is ahead.
func (r *run) furthest() (number, seq uint64) {
	if r.file != nil && r.fits == ahead {
		number, seq = r.file.Head.Events, r.file.EmittedSeq
	}
	for _, e := range r.snapshots {
		if e.fits == ahead {
			number, seq = max(number, e.Events), max(seq, e.EmittedSeq)
		}
	}
	return number, seq
}

// countAsLost has clear put aside, or take off the list, what stands in one way.
func (r *run) countAsLost(fits fitness) {
	if r.file != nil && r.fits == fits {
		r.fits = lost
	}
	for _, e := range r.snapshots {
		if e.fits == fits {
			r.cut[e.Object] = true
		}
	}
}

var errNoBase = errors.New("nothing to begin with: neither the file nor a snapshot fits, and the log does not begin with its first message: " +
	"name a -data-dir whose file fits, or restore the snapshots")
