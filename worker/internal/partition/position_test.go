package partition

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// The log is trimmed while a reader is connected and slow: its consumer goes on at what is left, without a word. Neither a new session nor a reconnect
// is there to prove anything, only the sequences tell. Without looking at them the partition goes on with state that lacks what was skipped.
func TestConsumerSkipsWhatWasTrimmed(t *testing.T) {
	r := newRig(t)
	proxy := r.srv.Proxy()
	slow := r.connect(proxy.URL())
	x := r.start(r.file(), func(_ *Config, d *Deps) { d.Broker = slow })
	x.reach(r.append(users(2)...))
	proxy.Hold(natstest.ToServer) // what is asked for arrives, until all of it has; more is asked for in vain
	for i := range 100 {
		r.append(trigger("user-0", i, 0))
	}
	last := r.last()
	natstest.Eventually(t, func() bool { return proxy.Held(natstest.ToServer) > 0 && x.Status().Applied > 1 }, "more to be asked for")
	stream, err := r.broker.JS.Stream(r.ctx(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(r.ctx(), jetstream.WithPurgeSequence(last)); err != nil {
		t.Fatal(err)
	}
	if applied := x.Status().Applied; applied+1 >= last {
		t.Fatalf("%d of %d are applied: nothing is skipped", applied, last)
	}
	proxy.Release()
	wantHalt(t, x.wait(), "not in the log any more")
}

// The largest message that a broker takes is read like any other: a pull that bounds bytes must leave room for what comes around it.
func TestLargestMessage(t *testing.T) {
	r := newRig(t)
	x := r.start(r.file())
	payload := bytes.Repeat([]byte("x"), int(r.broker.Conn.MaxPayload()))
	if _, err := r.broker.JS.PublishMsg(r.ctx(), &nats.Msg{Subject: broker.TriggersSubject(0), Data: payload}); err != nil {
		t.Fatal(err)
	}
	r.append(users(1)...)
	x.reach(r.last())
}
