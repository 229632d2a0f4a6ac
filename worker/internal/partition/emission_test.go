package partition

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// Two owners of one partition, each with its own file, both emitting: each event is there once, and both have the same state.
func TestZombieOwner(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	small := func(c *Config, _ *Deps) { c.EventsMessage = 2000 } // many messages, so that they meet often
	one, two := r.start(r.file(), small), r.start(r.file(), small)
	for i := range 300 {
		r.append(trigger(fmt.Sprintf("user-%d", i%20), i, 0), trigger(fmt.Sprintf("user-%d", i%7), i, int64(i%5)))
	}
	one.reach(r.last())
	two.reach(r.last())
	r.sameAsUninterrupted(one)
	if one.digest() != two.digest() {
		t.Error("the two owners differ in state")
	}
	conflicts := testutil.ToFloat64(one.deps.Metrics.conflicts.WithLabelValues("0")) + testutil.ToFloat64(two.deps.Metrics.conflicts.WithLabelValues("0"))
	if conflicts == 0 {
		t.Error("no conflict was counted: the test has not shown anything")
	}
}

// The acknowledgement of an emission is lost: the message is in EVENTS, and its sender does not know.
func TestLostAcknowledgement(t *testing.T) {
	r := newRig(t)
	proxy := r.srv.Proxy()
	slow := r.connect(proxy.URL())
	r.append(users(3)...)
	emitting := make(chan struct{}, 1)
	resume := make(chan struct{})
	x := r.start(r.file(), func(c *Config, d *Deps) {
		d.Broker = slow
		c.BrokerTimeout = 200_000_000 // 200 ms: the acknowledgement is given up soon
		d.Failpoint = func(step string) error {
			if step == StepEmitting {
				select {
				case emitting <- struct{}{}:
					<-resume
				default:
				}
			}
			return nil
		}
	})
	last := r.append(trigger("user-0", 1, 0))
	<-emitting
	proxy.Hold(natstest.ToClient) // the message goes through, nothing comes back
	close(resume)
	stream, err := r.broker.JS.Stream(r.ctx(), broker.EventsStream(0))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool {
		info, err := stream.Info(r.ctx())
		return err == nil && info.State.LastSeq == 1
	}, "message of events arrives")
	proxy.CutClients()
	proxy.Release()
	x.reach(last)
	x.reach(r.append(trigger("user-1", 2, 0)))
	if d := cmp.Diff(r.reference(), r.emitted()); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

// Somebody wrote events that the log does not lead to: a log that lost its tail looks like that.
func TestEventsBeyondTheLogHalt(t *testing.T) {
	r := newRig(t)
	r.append(users(1)...)
	r.forgeEvents(1, 7)
	err := r.start(r.file()).wait()
	wantHalt(t, err, "event 7")
}

// The same, while the partition runs.
func TestEventsBeyondTheLogHaltLater(t *testing.T) {
	r := newRig(t)
	last := r.append(users(1)...)
	x := r.start(r.file())
	x.reach(last)
	r.forgeEvents(1, 7)
	r.append(trigger("user-0", 1, 0))
	wantHalt(t, x.wait(), "event 7")
}

// EVENTS lost what the checkpoint relies on.
func TestEventsBehindTheCheckpointHalt(t *testing.T) {
	r := newRig(t)
	file := r.file()
	r.append(users(1)...)
	x := r.start(file)
	x.reach(r.append(trigger("user-0", 1, 0)))
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	stream, err := r.broker.JS.Stream(r.ctx(), broker.EventsStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(r.ctx()); err != nil {
		t.Fatal(err)
	}
	wantHalt(t, r.start(file).wait(), "lost events")
	wantHalt(t, r.start(r.file()).wait(), "lost events") // nothing can be put where it began
}

// forgeEvents writes a message that claims to carry the events first to last.
func (r *rig) forgeEvents(first, last int) {
	r.t.Helper()
	_, err := r.broker.JS.PublishMsg(r.ctx(), &nats.Msg{Subject: broker.EventsSubject(0), Data: []byte("[]"), Header: nats.Header{
		HeaderFirstEvent: []string{fmt.Sprint(first)}, HeaderLastEvent: []string{fmt.Sprint(last)}}})
	if err != nil {
		r.t.Fatal(err)
	}
}

// wantHalt holds a halt to saying what happened, what was kept and what to do.
func wantHalt(t *testing.T, err error, what string) {
	t.Helper()
	var halt *HaltError
	if !errors.As(err, &halt) {
		t.Fatalf("run returned %v, not a halt", err)
	}
	if !strings.Contains(err.Error(), what) || halt.Kept == "" || halt.Do == "" {
		t.Errorf("halt says %q, nothing of %q", err, what)
	}
}

// After a silence an event leaves at once; those of a burst share a message; draining waits for nobody.
func TestEventsOfABurstShareAMessage(t *testing.T) {
	r := newRig(t)
	r.append(users(3)...)
	x := r.start(r.file(), func(c *Config, _ *Deps) { c.EmitEvery = time.Hour })
	x.reach(r.append(trigger("user-0", 1, 0))) // reach waits for the event's acknowledgement
	for i := range 20 {
		r.append(trigger("user-1", 2+i, 0))
	}
	natstest.Eventually(t, func() bool { return x.Status().Applied == r.last() }, "the burst is applied")
	if n := len(r.emitted()); n != 1 {
		t.Errorf("%d events emitted before an hour has passed, want the first alone", n)
	}
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r.reference(), r.emitted()); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if end, err := readPlace(r.ctx(), r.broker, 0, 0); err != nil || end.seq != 2 {
		t.Errorf("events ended at message %d, %v; want 2", end.seq, err)
	}
}
