package appender_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// dropClients breaks the appender's connection and waits for the next one. What is held back stays held back.
func (r *rig) dropClients() {
	r.t.Helper()
	again := r.nc.StatusChanged(nats.CONNECTED)
	defer r.nc.RemoveStatusListener(again)
	r.proxy.CutClients()
	<-again
}

// The first copy of a batch is under way when its connection dies; the batch is repeated over the next one; then the
// first copy arrives. Within the server's window it is known again: stored once, and it can't overtake either.
func TestLateCopyWithinTheWindow(t *testing.T) {
	r := newRig(t, unhurried)
	first := r.stuck("first")
	r.dropClients()
	res := <-first
	if res.err != nil {
		t.Fatal(res.err)
	}
	r.must("second")
	r.proxy.Release()
	r.settled()
	want := []string{"first", "second"}
	if diff := cmp.Diff(want, users(r.entries())); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// The copy arrived, its answer did not: the repeated batch gets the original place.
func TestLostAnswerWithinTheWindow(t *testing.T) {
	r := newRig(t, unhurried)
	r.proxy.Hold(natstest.ToClient)
	first := r.call("demo", "first")
	natstest.Eventually(t, func() bool { return len(r.entries()) == 1 }, "the batch is stored")
	r.dropClients()
	res := <-first
	if res.err != nil {
		t.Fatal(res.err)
	}
	all := r.entries()
	if len(all) != 1 || all[0].Position != res.pos {
		t.Errorf("position %v, log %v", res.pos, all)
	}
}

// Beyond the window the late copy is stored a second time, behind newer batches: under its old writer and number, by
// which the reader knows it, and nothing newer was sent before its first copy was stored.
func TestLateCopyBeyondTheWindow(t *testing.T) {
	r := newRig(t, unhurried, window(500*time.Millisecond)) // long enough for a repeat, short enough to wait for
	first := r.stuck("first")
	r.dropClients()
	if res := <-first; res.err != nil {
		t.Fatal(res.err)
	}
	r.must("second")
	r.forgotten()
	r.proxy.Release()
	natstest.Eventually(t, func() bool { return len(r.entries()) >= 3 }, "the late copy is stored")
	all := r.entries()
	if diff := cmp.Diff([]string{"first", "second", "first"}, users(all)); diff != "" {
		t.Fatalf("log (-want +got):\n%s", diff)
	}
	late := all[2].batch
	if late.Writer != r.app.Writer() || late.Number != 1 || string(late.Payload) != string(all[0].batch.Payload) || late.Time != all[0].batch.Time {
		t.Errorf("the late copy is %+v, the original %+v", late, all[0].batch)
	}
	checkOrder(t, all)
}

// forgotten waits until the server has forgotten every message id: until it stores one twice.
func (r *rig) forgotten() {
	r.t.Helper()
	probe := nats.NewMsg(broker.TriggersSubject(0))
	batch := record.Batch{Writer: "probe", Time: 1, Count: 1, Payload: line("probe")}
	probe.Header, probe.Data = batch.Header(), batch.Payload
	probe.Header.Set(record.HeaderMsgID, "probe")
	natstest.Eventually(r.t, func() bool {
		ack, err := r.log.JS.PublishMsg(r.t.Context(), probe)
		return err == nil && !ack.Duplicate && ack.Sequence > 4
	}, "message ids are forgotten")
}

// settled waits until the server has taken what the proxy delivered: a held connection's bytes are in front of its end.
func (r *rig) settled() {
	r.t.Helper()
	natstest.Eventually(r.t, func() bool { return r.srv.Server().NumClients() == 2 }, "the dead connection is gone")
}

// A caller that could not wait has a receipt; the batch is repeated all the same, and the receipt leads to the record.
func TestReceiptLeadsToTheRecord(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: 50 * time.Millisecond, StallAfter: patient, RepeatAfter: 20 * time.Millisecond})
	r.must("before")
	rec := receipt(t, (<-r.stuck("lost")).err)
	if rec.Writer != r.app.Writer() || rec.Partition != 0 || rec.Number != 2 || rec.Index != 0 {
		t.Errorf("receipt is %+v", rec)
	}
	if _, err := where(r.entries(), rec); err == nil {
		t.Fatal("in the log before it arrived")
	}
	r.proxy.Cut() // the first copies never arrive
	natstest.Eventually(t, func() bool { _, err := where(r.entries(), rec); return err == nil }, "the record is in the log")
	if e, err := where(r.entries(), rec); err != nil || e.user != "lost" {
		t.Errorf("receipt leads to %q, %v", e.user, err)
	}
	checkOrder(t, r.entries())
}

// While a batch is unresolved new calls fail at once, and nothing newer is sent, however often it is repeated.
func TestStalledLogFailsFastAndRecovers(t *testing.T) {
	cfg := appender.Config{Timeout: patient, StallAfter: time.Millisecond, RepeatAfter: 5 * time.Millisecond, RepeatMax: 20 * time.Millisecond}
	r := newRig(t, cfg)
	first := r.stuck("first")
	var behind []<-chan result
	natstest.Eventually(t, func() bool {
		c := r.call("demo", "behind")
		select {
		case res := <-c:
			return errors.Is(res.err, appender.ErrUnavailable)
		case <-time.After(100 * time.Millisecond):
			behind = append(behind, c) // came before StallAfter
			return false
		}
	}, "calls fail at once")
	held := r.proxy.Held(natstest.ToServer)
	natstest.Eventually(t, func() bool { return r.proxy.Held(natstest.ToServer) > 3*held }, "the batch is repeated")
	r.proxy.Release()
	for _, c := range append(behind, first) {
		if res := <-c; res.err != nil {
			t.Error(res.err)
		}
	}
	r.must("after")
	all := r.entries()
	if names := users(all); names[0] != "first" || names[len(names)-1] != "after" || len(names) != 2+len(behind) {
		t.Errorf("log holds %v", names)
	}
	checkOrder(t, all)
}

func TestBrokerAwayFailsFastAndRecovers(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: 100 * time.Millisecond}) // a call on the way when the broker goes is unknown first
	r.must("before")
	for _, away := range []struct {
		name       string
		stop, back func()
	}{
		{"stopped", r.srv.Stop, r.srv.Boot},
		{"killed", r.srv.Kill, r.srv.Boot},
		{"cut off", func() { r.proxy.Refuse(true); r.proxy.Cut() }, func() { r.proxy.Refuse(false) }},
	} {
		away.stop()
		natstest.Eventually(t, func() bool {
			res := <-r.call("demo", "during "+away.name)
			return errors.Is(res.err, appender.ErrUnavailable)
		}, "calls fail while the broker is %s", away.name)
		away.back()
		natstest.Eventually(t, func() bool { return (<-r.call("demo", "after "+away.name)).err == nil }, "calls succeed after %s", away.name)
	}
	checkOrder(t, r.entries())
}

// Without a connection a call does not wait for one, however much time it has.
func TestDisconnectedFailsAtOnce(t *testing.T) {
	r := newRig(t, unhurried)
	r.proxy.Refuse(true)
	r.proxy.Cut()
	natstest.Eventually(t, func() bool { return !appender.Connected(r.app) }, "the loss is noticed")
	err := (<-r.call("demo", "away")).err
	checkUnavailable(t, err)
	if !strings.Contains(err.Error(), "broker is away") {
		t.Errorf("error %q: it waited", err)
	}
	r.proxy.Refuse(false)
	natstest.Eventually(t, func() bool { return appender.Connected(r.app) }, "the connection is back")
	r.must("back")
}

// A full log refuses, for sure and at once; room makes it take records again. The refused number is not used again.
func TestFullLogRefusesAndRecovers(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: patient, StallAfter: patient}, func(s *broker.Settings) { s.TriggersMaxBytes = broker.MaxMessageBytes })
	big := strings.Repeat("x", 4000)
	stored := 0
	for {
		_, err := r.app.Append(t.Context(), 0, "demo", line(big))
		if err != nil {
			checkUnavailable(t, err)
			break
		}
		stored++
	}
	checkUnavailable(t, (<-r.call("demo", big)).err)
	if said := r.app.Describe(); !strings.Contains(said, "1 of 1 did not take") || !strings.Contains(said, "partition 0, 0s ago: log is full") {
		t.Errorf("it says %q", said)
	}
	if n := len(r.entries()); n != stored {
		t.Errorf("%d records in the log, %d were stored", n, stored)
	}
	stream, err := r.log.JS.Stream(t.Context(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.must("after")
	if said := r.app.Describe(); said != "none of 1 refused the last batch" {
		t.Errorf("it says %q", said)
	}
	all := r.entries()
	if len(all) != 1 || all[0].batch.Number != uint64(stored)+3 {
		t.Errorf("after the purge the log holds %d records, first is batch %d, want %d", len(all), all[0].batch.Number, stored+3)
	}
}

// A refusal proves nothing about an earlier copy of the same batch: it stays unknown until it is found.
func TestRefusalOfARepeatIsNotFinal(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: patient, StallAfter: patient, RepeatAfter: 5 * time.Millisecond, RepeatMax: 10 * time.Millisecond},
		func(s *broker.Settings) { s.TriggersMaxBytes = broker.MaxMessageBytes })
	first := r.stuck("first")
	r.fill()
	r.dropClients() // the batch is repeated over a connection that flows, and refused: the log is full
	select {
	case res := <-first:
		t.Fatalf("resolved as %v", res.err)
	case <-r.answers(5):
	}
	stream, err := r.log.JS.Stream(t.Context(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res := <-first; res.err != nil {
		t.Fatal(res.err)
	}
}

// fill stores until the log is full for the smallest batch.
func (r *rig) fill() {
	r.t.Helper()
	size := 100_000
	for size > 0 {
		batch := record.Batch{Writer: "filler", Time: 1, Count: 1, Payload: make([]byte, size)}
		msg := nats.NewMsg(broker.TriggersSubject(0))
		msg.Header, msg.Data = batch.Header(), batch.Payload
		if _, err := r.log.JS.PublishMsg(r.t.Context(), msg); err != nil {
			size /= 2
		}
	}
}

// answers is closed when the stream has answered n messages on the appender's inboxes.
func (r *rig) answers(n int) <-chan struct{} {
	done := make(chan struct{})
	spy := r.srv.Connect()
	seen := 0
	_, err := spy.Subscribe("_INBOX.>", func(m *nats.Msg) {
		if seen++; seen == n {
			close(done)
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// Nobody listens: nothing was stored, and the caller hears so at once.
func TestNoStreamIsFinal(t *testing.T) {
	r := newRig(t, unhurried)
	if err := r.log.JS.DeleteStream(t.Context(), broker.TriggersStream(0)); err != nil {
		t.Fatal(err)
	}
	checkUnavailable(t, (<-r.call("demo", "nowhere")).err)
	checkUnavailable(t, (<-r.call("demo", "again")).err)
}

// A stream of another name on the same subject does not get the records.
func TestOtherStreamIsRefused(t *testing.T) {
	r := newRig(t, unhurried)
	info, err := r.log.JS.Stream(t.Context(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := info.CachedInfo().Config
	if err := r.log.JS.DeleteStream(t.Context(), cfg.Name); err != nil {
		t.Fatal(err)
	}
	cfg.Name = "OTHER"
	if _, err := r.log.JS.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	checkUnavailable(t, (<-r.call("demo", "x")).err)
}
