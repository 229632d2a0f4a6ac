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
	here, there := f.ingress("-append-timeout", "250ms", "-check-timeout", "100ms"), f.ingress("-append-timeout", "750ms", "-check-timeout", "100ms")
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
	in := f.ingress("-append-timeout", "5m", "-http-write-timeout", "10m", "-http-drain-timeout", "10m")
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

// behind starts two ingresses, one of them behind a proxy and in a hurry, which knows the modules already; and registers user u.
func (f *fleet) behind() (px *natstest.Proxy, hurried, quiet *member) {
	f.t.Helper()
	px = f.nats.Proxy()
	hurried, quiet = f.ingress("-nats-url", px.URL(), "-append-timeout", "200ms", "-check-timeout", "50ms"), f.ingress()
	f.setUp(quiet)
	f.register(quiet, "u", "clock")
	natstest.Eventually(f.t, func() bool { return f.trigger(hurried, "clock", `"module_id":8`).code == http.StatusOK }, "the modules to be known")
	return px, hurried, quiet
}

// The record got into the log and its acknowledgement got lost. The receipt leads to the record, by way of any ingress, even
// while the one that gave it is still cut off; and the ingress's repeating does not store it again.
func TestReceiptOfALostAcknowledgement(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1)
	f.worker()
	px, cut, whole := f.behind()
	px.Hold(natstest.ToClient)
	receipt := f.mustBeUnknown(cut, "u", `"module_id":8,"is_async":true,"custom_vars":{"n":1}`)
	first := f.want(whole, receipt, "redirected")
	if first.UserID != "u" || *first.UserVersion != 2 {
		t.Errorf("outcome is %+v", first)
	}
	px.Cut()
	second := f.followed(cut, whole, "u", `"module_id":7,"is_async":true,"custom_vars":{"n":2}`)
	if again := f.want(whole, receipt, "redirected"); again.TriggerID != first.TriggerID {
		t.Errorf("the receipt led to %+v, now to %+v", first, again)
	}
	f.tells("u", redirected+" "+first.TriggerID, redirected+" "+second)
	if u := f.user(whole, "u"); u.Version != 3 || string(u.Vars["n"]) != "2" || u.Module != seven {
		t.Errorf("state is %+v", u)
	}
}

// followed sends a trigger until it is stored, and returns its id; that of one without an answer it asks for by its receipt, elsewhere.
func (f *fleet) followed(to, elsewhere *member, user, rest string) (id string) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		r := f.trigger(to, user, rest)
		id = r.ID
		if r.refused() && r.Receipt != "" {
			id = f.fate(elsewhere, r.Receipt).TriggerID
		}
		return id != ""
	}, "a trigger to be accepted")
	f.fate(elsewhere, id)
	return id
}

// The record did not get as far as the log yet: its receipt leads nowhere for now, and to the record as soon as the ingress
// has got through.
func TestReceiptOfWhatIsStillOnItsWay(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1)
	f.worker()
	px, cut, whole := f.behind()
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
	f := newFleetOf(t, 1, "-duplicate-window", "100ms")
	f.worker()
	px, slow, quick := f.behind()
	px.Hold(natstest.ToServer)
	receipt := f.mustBeUnknown(slow, "u", `"module_id":8,"is_async":true,"custom_vars":{"n":1,"only":"first"}`)
	px.CutClients() // what is held is under way all the same
	first := f.want(quick, receipt, "redirected").TriggerID
	second := f.followed(slow, quick, "u", `"module_id":7,"is_async":true,"custom_vars":{"n":2}`)
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
	third := f.followed(slow, quick, "u", `"module_id":null,"custom_vars":{"n":3}`)
	if u := f.user(quick, "u"); u.Version != 4 || string(u.Vars["n"]) != "3" || string(u.Vars["only"]) != `"first"` || u.Module != seven {
		t.Errorf("state is %+v", u)
	}
	f.tells("u", redirected+" "+first, redirected+" "+second, updated+" "+third)
}
