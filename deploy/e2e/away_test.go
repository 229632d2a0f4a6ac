package e2e

import (
	"net/http"
	"testing"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// The broker goes and comes back several times under load, in good order and killed. Nobody restarts an ingress or a worker for that; every
// refusal is a 503 that says when to try again; and what was accepted, or got a receipt, is applied once and has one event.
func TestBrokerGoesUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	here, there := f.ingress("-append-timeout", "250ms"), f.ingress()
	f.setUp(here)
	b := f.startBurst(here, there)
	for _, stop := range []func(){f.nats.Kill, f.nats.Stop, f.nats.Kill} {
		b.more(100)
		stop()
		b.refusals(burstSenders)
		f.nats.Boot()
	}
	b.more(100)
	f.nats.Restart()
	b.more(100)
	b.end()
	t.Logf("%d accepted, %d refused, %d had receipts", b.accepted.Load(), b.refused.Load(), b.audit(there))
}

// Without a broker everything is answered all the same. The settings would let an append wait far beyond the test's patience, so
// the answers that come are not those of a timeout.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	in := f.ingress("-append-timeout", "5m")
	f.setUp(in)
	f.register(in, "u")
	f.nats.Stop()
	natstest.Eventually(t, func() bool { return f.ready(in) == http.StatusServiceUnavailable }, "the ingress to know")
	r := f.trigger(in, "u", `"module_id":8,"is_async":true`)
	if !r.refused() || r.Code != "unavailable" {
		t.Errorf("trigger: %d %s", r.code, r.body)
	}
	for _, c := range []struct{ method, path, media, body string }{
		{http.MethodPut, "/v1/users/u", jsonMedia, `{"bot_id":"bot"}`},
		{http.MethodGet, "/v1/users/u", "", ""},
		{http.MethodDelete, "/v1/users/u", "", ""},
		{http.MethodPut, "/v1/bots/bot/modules", jsonMedia, `{"modules":[]}`},
		{http.MethodGet, "/v1/triggers/0-2-0", "", ""},
	} {
		a := f.call(in, c.method, c.path, c.media, c.body)
		if a.code != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %v %s", c.method, c.path, a.code, a.header, a.body)
		}
	}
	f.nats.Boot()
	var id string
	natstest.Eventually(t, func() bool {
		r := f.trigger(in, "u", `"module_id":8,"is_async":true`)
		id = r.ID
		return !r.refused()
	}, "triggers to be accepted again")
	f.want(in, id, "redirected")
	f.tells("u", redirected+" "+id)
	natstest.Eventually(t, func() bool { return f.ready(in) == http.StatusOK }, "the ingress to be ready again")
}

// ready is what a load balancer hears.
func (f *fleet) ready(m *member) int {
	return f.call(&member{addr: m.admin}, http.MethodGet, "/readyz", "", "").code
}

// mustBeUnknown is a trigger that nobody answers for in time.
func (f *fleet) mustBeUnknown(to *member, user, rest string) (receipt string) {
	f.t.Helper()
	r := f.trigger(to, user, rest)
	if !r.refused() || r.Code != "unknown_outcome" {
		f.t.Fatalf("trigger: %d %s, want an unknown outcome", r.code, r.body)
	}
	return r.Receipt
}

// warm makes an ingress know user and modules, so that it needs no answer to accept.
func (f *fleet) warm(to *member, user string) {
	f.t.Helper()
	f.setUp(to)
	f.register(to, user)
	f.want(to, f.accepted(to, user, `"module_id":null,"custom_vars":{"n":0}`), "applied")
}

// The record got into the log and its acknowledgement got lost. The receipt leads to the record, by way of any ingress, even
// while the one that gave it is still cut off; and the ingress's repeating does not store it again.
func TestReceiptOfALostAcknowledgement(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "-partitions", "1")
	f.worker()
	px := f.nats.Proxy()
	cut, whole := f.ingress("-nats-url", px.URL(), "-append-timeout", "100ms", "-check-timeout", "50ms"), f.ingress()
	f.warm(cut, "u")
	px.Hold(natstest.ToClient)
	receipt := f.mustBeUnknown(cut, "u", `"module_id":8,"is_async":true,"custom_vars":{"n":1}`)
	first := f.want(whole, receipt, "redirected")
	if first.UserID != "u" || *first.UserVersion != 3 {
		t.Errorf("outcome is %+v", first)
	}
	px.Cut()
	second := f.eventuallyAccepted(cut, "u", `"module_id":7,"is_async":true,"custom_vars":{"n":2}`)
	f.want(cut, second, "redirected")
	if again := f.want(cut, receipt, "redirected"); again.TriggerID != first.TriggerID {
		t.Errorf("the receipt led to %+v, now to %+v", first, again)
	}
	events := f.about("u", 3)
	if events[1].ID != first.TriggerID || events[2].ID != second {
		t.Errorf("events are %+v", events)
	}
	if u := f.user(whole, "u"); u.Version != 4 || string(u.Vars["n"]) != "2" || u.Module != seven {
		t.Errorf("state is %+v", u)
	}
}

// eventuallyAccepted sends a trigger until it is not refused; a refusal here must be one that stored nothing.
func (f *fleet) eventuallyAccepted(to *member, user, rest string) (id string) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		r := f.trigger(to, user, rest)
		id = r.ID
		if r.refused() && r.Code != "unavailable" {
			f.t.Fatalf("trigger: %d %s", r.code, r.body)
		}
		return r.code == http.StatusOK
	}, "a trigger to be accepted")
	return id
}

// The record did not get as far as the log yet: its receipt leads nowhere for now, and to the record as soon as the ingress
// has got through.
func TestReceiptOfWhatIsStillOnItsWay(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "-partitions", "1")
	f.worker()
	px := f.nats.Proxy()
	cut, whole := f.ingress("-nats-url", px.URL(), "-append-timeout", "100ms", "-check-timeout", "50ms"), f.ingress()
	f.warm(cut, "u")
	before := f.lastSeq(0)
	px.Hold(natstest.ToServer)
	receipt := f.mustBeUnknown(cut, "u", `"module_id":8,"is_async":true`)
	f.call(whole, http.MethodGet, "/v1/triggers/"+receipt, "", "").must(http.StatusNotFound)
	px.Cut()
	f.want(whole, receipt, "redirected")
	if after := f.lastSeq(0); after != before+1 {
		t.Errorf("the log went from %d to %d", before, after)
	}
}

// lastSeq is where a partition's log ends.
func (f *fleet) lastSeq(p int) uint64 {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), broker.TriggersStream(p))
	if err != nil {
		f.t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// A copy of a batch arrives so late that the broker has forgotten it: after the batch was repeated, applied, and followed by another. It is stored
// a second time, and has no effect: its place in the log says of which one it is a copy.
func TestLateCopy(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "-partitions", "1", "-duplicate-window", "100ms")
	f.worker()
	px := f.nats.Proxy()
	slow, quick := f.ingress("-nats-url", px.URL(), "-append-timeout", "100ms", "-check-timeout", "50ms"), f.ingress()
	f.warm(slow, "u")
	f.register(quick, "clock")
	px.Hold(natstest.ToServer)
	receipt := f.mustBeUnknown(slow, "u", `"module_id":8,"is_async":true,"custom_vars":{"n":1,"only":"first"}`)
	px.CutClients() // what is held is under way all the same
	first := f.want(quick, receipt, "redirected").TriggerID
	second := f.eventuallyAccepted(slow, "u", `"module_id":7,"is_async":true,"custom_vars":{"n":2}`)
	f.want(slow, second, "redirected")
	f.awaitServerClock(quick, f.storedAt(0, f.lastSeq(0)).Add(2*duplicateWindow))
	before := f.lastSeq(0)
	px.Release()
	natstest.Eventually(t, func() bool { return f.lastSeq(0) > before }, "the late copy to be stored")
	copyID := f.id(0, before+1)
	if o := f.want(quick, copyID, "duplicate"); o.DuplicateOf != first {
		t.Errorf("outcome of the copy is %+v, want a duplicate of %s", o, first)
	}
	if o := f.want(quick, receipt, "redirected"); o.TriggerID != first {
		t.Errorf("the receipt leads to %+v, not to %s", o, first)
	}
	f.want(quick, f.accepted(slow, "u", `"module_id":null,"custom_vars":{"n":3}`), "applied")
	u := f.user(quick, "u")
	if u.Version != 5 || string(u.Vars["n"]) != "3" || string(u.Vars["only"]) != `"first"` || u.Module != seven {
		t.Errorf("state is %+v", u)
	}
	events := f.about("u", 4)
	if events[1].ID != first || events[2].ID != second || events[3].Data.ModuleAfter == eight {
		t.Errorf("events are %+v", events)
	}
}
