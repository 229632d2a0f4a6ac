package adopt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/worker/internal/control"
	"github.com/triggerd/triggerd/worker/internal/membership"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// DefaultMargin is how many sequences are left out beyond the highest one seen.
const DefaultMargin = 10_000

// Config is what Run needs to know.
type Config struct {
	Partition int
	Path      string // of the partition's file; it need not be there
	Margin    uint64 // sequences that are left out beyond the highest one seen
	Seen      uint64 // a sequence that the operator knows of; 0 = none
	Who       string // decides

	EventsLost bool // go on without events that EVENTS-p lacks and that nothing can derive again
}

// Deps is what Run works with. Broker is mandatory.
type Deps struct {
	Broker *broker.Broker
	Say    func(format string, args ...any) // tells the operator what is done, a line at a time

	// Failpoint, if set, is called after each step. An error ends Run there, as a crash would. For tests.
	Failpoint func(step string) error
}

// Report is what was done.
type Report struct {
	Found  uint64 // where the log ended
	Seen   uint64 // the highest position that anybody has seen
	Ended  uint64 // where it ends now
	Events uint64 // the last event that log and EVENTS agree on
	Marked uint64 // the last event in EVENTS before, if that was beyond Events, or of another log; 0: it was not
	Lost   uint64 // events before Events that EVENTS lacks and that are not derived again
	Aside  string // where the file was put; empty: it fits, or there is none
	Gone   int    // snapshots taken off the list
}

// Steps in their order.
var Steps = []string{"take", "look", "compare", "fill", "mark", "clear", "release"}

// ErrInUse: somebody runs the partition, or may begin to.
var ErrInUse = errors.New("partition is in use")

// run is one adoption.
type run struct {
	Config
	Deps
	report Report
	word   uint64            // the order by which the partition is this run's
	first  uint64            // where the log begins
	file   *store.Checkpoint // of this log; nil: there is none
	fits   fitness           // of the file

	events end    // of EVENTS-p
	markTo uint64 // the sequence up to which messages are to say in EVENTS-p at which number events go on; 0: none is

	shelf     *snapshot.Shelf // restores into the scratch file
	snapshots []fitted        // of this log, newest first
	cut       map[string]bool // objects of those that reflect what is lost
}

// Run adopts the log of one partition. See the package's comment.
func Run(ctx context.Context, cfg Config, deps Deps) (Report, error) {
	if deps.Say == nil {
		deps.Say = func(string, ...any) {}
	}
	r := &run{Config: cfg, Deps: deps}
	for i, step := range []func(context.Context) error{r.take, r.look, r.compare, r.fill, r.mark, r.clear, r.release} {
		err := step(ctx)
		if err == nil && deps.Failpoint != nil {
			err = deps.Failpoint(Steps[i])
		}
		if err != nil {
			return r.report, fmt.Errorf("adopt log of partition %d: %w", cfg.Partition, err)
		}
	}
	return r.report, nil
}

// Pause between two looks for who runs the partition.
const lookEvery = 100 * time.Millisecond

// take sees to it that nobody runs the partition, and nobody begins to. The order that it leaves is this run's alone: another one that takes the partition
// ends this one.
func (r *run) take(ctx context.Context) error {
	order, err := control.Read(ctx, r.Broker, r.Partition)
	if err != nil {
		return err
	}
	members, err := membership.List(ctx, r.Broker)
	if err != nil {
		return err
	}
	if !order.Paused() {
		for _, m := range members {
			if !slices.Contains(m.Halted, r.Partition) {
				return fmt.Errorf("%w: it is not paused, and worker %s on %s has not halted it: worker pause -partition %d", ErrInUse, m.ID, m.Host, r.Partition)
			}
		}
		r.Say("partition %d is halted everywhere, and is paused now", r.Partition)
	}
	if r.word, err = control.Take(ctx, r.Broker, r.Partition, r.Who, "its log is being adopted"); err != nil {
		return err
	}
	for {
		by, err := r.runs(ctx)
		if err != nil || by == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: it is paused, and %s", ErrInUse, by)
		case <-time.After(lookEvery):
		}
	}
}

// mine sees whether the partition still is this run's, before something is changed.
func (r *run) mine(ctx context.Context) error {
	order, err := control.Read(ctx, r.Broker, r.Partition)
	if err == nil && order.Revision != r.word {
		err = r.overtaken(order.Word.Who)
	}
	return err
}

func (r *run) overtaken(who string) error {
	return fmt.Errorf("%w: %s has paused, resumed or adopted it meanwhile; this adoption has stopped where it was: if it is still needed, begin again", ErrInUse, who)
}

// runs says who runs the partition; empty: nobody.
func (r *run) runs(ctx context.Context) (string, error) {
	members, err := membership.List(ctx, r.Broker)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.Serving(r.Partition) || slices.Contains(m.Follows, r.Partition) {
			return fmt.Sprintf("worker %s on %s still runs it", m.ID, m.Host), nil
		}
	}
	_, err = statequery.NewClient(r.Broker.Conn).Ask(ctx, r.Partition, statequery.Request{Status: &statequery.StatusOf{}})
	if err == nil || !errors.Is(err, statequery.ErrSilent) {
		return "somebody still answers for it", nil
	}
	return "", nil
}

// look finds out what there is, and the highest position seen in it.
func (r *run) look(ctx context.Context) error {
	if err := r.mine(ctx); err != nil {
		return err
	}
	if err := r.Broker.CheckLog(ctx, r.Partition); err != nil {
		return err
	}
	// What a leader says of its log may be old, if it was cut off. What it acknowledges is not.
	last, err := r.append(ctx, 1)
	if err != nil {
		return fmt.Errorf("append a tick: %w", err)
	}
	if r.first, _, err = r.Broker.Extent(ctx, r.Partition); err != nil {
		return err
	}
	r.report.Found, r.report.Ended = last, last
	r.see(last, "the log ends")
	if r.Seen != 0 {
		r.see(r.Seen, "the operator knows of a message")
	}
	if err := r.lookAtEvents(ctx); err != nil {
		return err
	}
	if err := r.lookAtFile(ctx); err != nil {
		return err
	}
	return r.lookAtSnapshots(ctx)
}

// see notes a position.
func (r *run) see(seq uint64, what string) {
	r.Say("%s at %d", what, seq)
	r.report.Seen = max(r.report.Seen, seq)
}

// lookAtFile sees whether the file is of this log, and fits. What is no file of this log is the worker's to deal with.
func (r *run) lookAtFile(ctx context.Context) error {
	st, err := store.OpenReadOnly(r.Path, store.Options{})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Say("there is no file %s", r.Path)
		return nil
	case errors.Is(err, store.ErrCorrupt):
		r.Say("the file cannot be read, and is left to the worker: %v", err)
		return nil
	case err != nil:
		return err
	}
	defer st.Close()
	c, ok := st.Last()
	if !ok || c.LogID != r.Broker.LogID(r.Partition) || c.Partition != r.Partition {
		r.Say("the file holds nothing of this log, and is left to the worker")
		return nil
	}
	r.file = &c
	r.see(c.Seq, "the file stands")
	r.fits, err = r.fit(ctx, c.Identity, c.Head.Events, c.EmittedSeq)
	return err
}

// clear puts the file aside if it does not fit, and takes the snapshots that do not off the list.
func (r *run) clear(ctx context.Context) error {
	if err := r.mine(ctx); err != nil {
		return err
	}
	if r.file != nil && r.fits == lost {
		aside := fmt.Sprintf("%s.adopted-%s", r.Path, time.Now().UTC().Format("20060102T150405.000000000"))
		if err := os.Rename(r.Path, aside); err != nil {
			return fmt.Errorf("put file aside: %w", err)
		}
		r.report.Aside = aside
		r.Say("the file reflects what is lost; it was put aside as %s", aside)
	}
	if len(r.cut) == 0 {
		return nil
	}
	gone, err := r.shelf.Forget(ctx, func(e snapshot.Entry) bool { return r.cut[e.Object] })
	if err != nil {
		return err
	}
	r.report.Gone = gone
	r.Say("%d snapshots reflect what is lost; they were taken off the list", gone)
	return nil
}

func (r *run) release(ctx context.Context) error {
	err := control.Release(ctx, r.Broker, r.Partition, r.word, r.Who, "its log was adopted")
	if errors.Is(err, control.ErrOvertaken) {
		return r.overtaken("somebody")
	}
	if err != nil {
		return err
	}
	r.Say("partition %d is resumed", r.Partition)
	return nil
}
