package partition

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// loseTail restores the log as it was at a backup, and appends other messages than those that are lost.
func (r *rig) loseTail(backup natstest.Backup, others int) {
	r.t.Helper()
	if err := r.broker.JS.DeleteStream(r.ctx(), broker.TriggersStream(0)); err != nil {
		r.t.Fatal(err)
	}
	backup.Restore(r.t, r.broker.Conn)
	for i := range others {
		r.append(trigger("user-1", 1000+i, 0))
	}
}

// A log that lost its tail may have grown again, to as many events as EVENTS holds of the lost messages. Whoever has not applied those can tell it only by
// what the events followed from.
func TestEventsOfALostTailHalt(t *testing.T) {
	for name, c := range map[string]struct {
		others int // messages since the loss; 10 are lost
		run    func(r *rig, far func(*Config, *Deps)) *run
		goOn   func(x *run)
	}{
		"standby":                       {others: 10, run: (*rig).afar, goOn: func(*run) {}},
		"standby, log is shorter":       {others: 5, run: (*rig).afar, goOn: func(*run) {}},
		"standby, log is longer":        {others: 15, run: (*rig).afar, goOn: func(*run) {}},
		"standby that is to lead":       {others: 10, run: (*rig).afar, goOn: func(x *run) { x.Lead() }},
		"idle standby that is to lead":  {others: 0, run: (*rig).afar, goOn: func(x *run) { x.Lead() }},
		"owner that was cut off":        {others: 15, run: func(r *rig, far func(*Config, *Deps)) *run { return r.start(r.file(), far) }, goOn: func(*run) {}},
		"owner that was cut off, again": {others: 10, run: func(r *rig, far func(*Config, *Deps)) *run { return r.start(r.file(), far) }, goOn: func(x *run) { x.Lead() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			x, heal := r.cutOffFromALoss(c.others, c.run)
			before := len(r.emitted())
			c.goOn(x)
			heal()
			wantHalt(t, x.wait(), "followed from message")
			if after := len(r.emitted()); after != before {
				t.Errorf("%d events were added to those of lost messages", after-before)
			}
		})
	}
}

// cutOffFromALoss begins a partition and cuts it off. Ten messages come, others emit what follows from them, and the log loses them; so many others come instead. Then heal lets the partition
// see the broker again.
func (r *rig) cutOffFromALoss(others int, begin func(r *rig, far func(*Config, *Deps)) *run) (x *run, heal func()) {
	r.t.Helper()
	px := r.srv.Proxy()
	far := r.connect(px.URL())
	r.append(users(2)...)
	x = begin(r, func(_ *Config, d *Deps) { d.Broker = far })
	other := r.start(r.file())
	kept := r.append(trigger("user-0", 1, 0))
	other.reach(kept)
	x.reach(kept)
	backup := natstest.TakeBackup(r.t, r.broker.Conn, broker.TriggersStream(0))
	px.Refuse(true)
	px.Cut()
	for i := range 10 {
		r.append(trigger("user-0", 2+i, 0))
	}
	other.reach(r.last())
	if err := other.drain(); err != nil {
		r.t.Fatal(err)
	}
	r.loseTail(backup, others)
	return x, func() { px.Refuse(false) }
}

// doubtful is a standby that has applied what came instead of the lost messages, and is in doubt about the events.
func (r *rig) doubtful() (x *run, said *lines, kept uint64) {
	r.t.Helper()
	said = &lines{}
	x, heal := r.cutOffFromALoss(10, func(r *rig, far func(*Config, *Deps)) *run {
		return r.standby(r.file(), patient(said), far, func(c *Config, _ *Deps) { c.DrainTimeout = time.Second })
	})
	kept = x.Status().Applied
	heal()
	natstest.Eventually(r.t, func() bool { return x.Status().Applied == r.last() && said.count("in doubt") > 0 }, "it has applied the others, and doubts")
	return x, said, kept
}

// Who drains in doubt about the events does not write down that what it derived is among them.
func TestDrainingInDoubtAboutEvents(t *testing.T) {
	r := newRig(t)
	x, _, kept := r.doubtful()
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	if s := x.Status(); s.CheckpointSeq > kept {
		t.Errorf("the checkpoint is at %d, beyond %d", s.CheckpointSeq, kept)
	}
}

// Who is in doubt about the events does not lead because nobody can read them.
func TestLeadingInDoubtAboutEvents(t *testing.T) {
	r := newRig(t)
	x, said, _ := r.doubtful()
	if err := r.broker.JS.DeleteStream(r.ctx(), broker.EventsStream(0)); err != nil {
		t.Fatal(err)
	}
	x.Lead()
	natstest.Eventually(t, func() bool {
		failed := make(chan bool)
		x.calls <- func(a *actor) { failed <- !a.role.again.IsZero() }
		return <-failed || x.Serving()
	}, "it has asked")
	if x.Serving() || said.count("not in doubt") > 0 {
		t.Error("it leads, or doubts no more, and nobody has read the events")
	}
}

// afar runs a standby.
func (r *rig) afar(far func(*Config, *Deps)) *run { return r.standby(r.file(), far) }

// The same for one that starts without a file, or with one from before the loss.
func TestEventsOfALostTailHaltAtTheStart(t *testing.T) {
	r, file := ran(t)
	backup := natstest.TakeBackup(t, r.broker.Conn, broker.TriggersStream(0))
	x := r.start(r.file())
	for i := range 10 {
		r.append(trigger("user-0", 2+i, 0))
	}
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	r.loseTail(backup, 20)
	wantHalt(t, r.start(file).wait(), "followed from message")
	wantHalt(t, r.standby(r.file()).wait(), "followed from message")
}

// What an event followed from may have been trimmed away since.
func TestEventsOfTrimmedMessages(t *testing.T) {
	r, _ := ran(t)
	from := r.last()
	r.append(users(1)...)
	stream, err := r.broker.JS.Stream(r.ctx(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(r.ctx(), jetstream.WithPurgeSequence(from+1)); err != nil {
		t.Fatal(err)
	}
	if end, err := readPlace(r.ctx(), r.broker, 0, 0); err != nil || end.number != 1 {
		t.Errorf("%+v, %v", end, err)
	}
}

// What another program wrote there is not believed.
func TestOriginIsHostile(t *testing.T) {
	r, _ := ran(t)
	long := &jetstream.RawStreamMsg{Header: nats.Header{HeaderFollowedFrom: {strings.Repeat("x", 1<<20)}}}
	if err := VerifyEvents(r.ctx(), r.broker, 0, long); err == nil || len(err.Error()) > 500 {
		t.Errorf("one of a MiB: %.600v", err)
	}
	for _, from := range []string{"1", "1 2", "-1 2 3", "1 2 zz", "1 2 0000000000000003 4", "01 2 0000000000000003", "99999999999999999999 1 0000000000000001", " "} {
		msg := &jetstream.RawStreamMsg{Sequence: 1, Header: nats.Header{HeaderFollowedFrom: {from}}}
		if err := VerifyEvents(r.ctx(), r.broker, 0, msg); !errors.Is(err, ErrNotOfThisLog) || !strings.Contains(err.Error(), strconv.Quote(from)) {
			t.Errorf("%q: %v", from, err)
		}
	}
}
