package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// pair is a worker and two ingresses, which the journeys share.
type pair struct {
	*fleet
	here, there *member
}

// Journeys of single users, by way of two ingresses.
func TestJourneys(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	j := &pair{f, f.ingress("-default-wait-time", "100ms"), f.ingress()}
	f.setUp(j.here)
	for name, journey := range map[string]func(*pair){
		"another bot":  (*pair).anotherBot,
		"batch":        (*pair).batch,
		"default wait": (*pair).defaultWait,
		"deletion":     (*pair).deletion,
		"long poll":    (*pair).longPoll,
		"no redirect":  (*pair).noRedirect,
		"dead letters": (*pair).deadLetters,
		"other eyes":   (*pair).otherEyes,
	} {
		t.Run(name, func(t *testing.T) {
			own := *f
			own.t = t
			journey(&pair{&own, j.here, j.there})
		})
	}
}

// A Module of another bot of the account moves the conversation there, and the next one back.
func (j *pair) anotherBot() {
	j.register(j.here, "mover")
	away := j.accepted(j.there, "mover", `"module_id":1000,"is_async":true,"custom_vars":{"a":1e400}`)
	j.want(j.here, away, "redirected")
	if u := j.user(j.here, "mover"); u.BotID != "other" || u.Module != far {
		j.t.Errorf("state is %+v", u)
	}
	back := j.accepted(j.there, "mover", `"module_id":"7","is_async":true,"wait_time":0`)
	j.want(j.here, back, "redirected")
	events := j.tells("mover", redirected+" "+away, redirected+" "+back)
	first, second := events[0].Data, events[1].Data
	if first.BotID != "other" || first.ModuleBefore != seven || first.ModuleAfter != far || string(first.Variables["a"]) != "1e400" || first.Version != 2 {
		j.t.Errorf("first event is %+v", first)
	}
	if second.BotID != "bot" || second.ModuleBefore != far || second.ModuleAfter != seven || second.Version != 3 {
		j.t.Errorf("second event is %+v", second)
	}
}

// A batch is accepted item by item, and the items of each user are applied in their order.
func (j *pair) batch() {
	const users, each = 5, 60
	var items []string
	for n := range each {
		for u := range users {
			if n == 0 {
				j.register(j.here, fmt.Sprintf("batch-%d", u))
			}
			items = append(items, fmt.Sprintf(`{"user_id":"batch-%d","module_id":null,"custom_vars":{"n":%d}}`, u, n))
		}
	}
	items = append(items, `{"user_id":"batch-nobody","module_id":null}`)
	var results []struct {
		Status int    `json:"status"`
		ID     string `json:"trigger_id"`
	}
	j.call(j.there, http.MethodPost, triggers+"batch/", jsonMedia, "["+strings.Join(items, ",")+"]").must(http.StatusOK).into(&results)
	if len(results) != len(items) || results[users*each].Status != http.StatusBadRequest {
		j.t.Fatalf("results are %+v", results)
	}
	for u := range users {
		j.want(j.here, results[users*(each-1)+u].ID, "applied")
		state := j.user(j.here, fmt.Sprintf("batch-%d", u))
		if string(state.Vars["n"]) != fmt.Sprint(each-1) || state.Version != each+1 {
			j.t.Errorf("state is %+v", state)
		}
	}
}

// A trigger without wait_time waits as long as the ingress is set to; wait_time 0 does not.
func (j *pair) defaultWait() {
	j.register(j.here, "waiter")
	slow := j.accepted(j.here, "waiter", `"module_id":8,"is_async":true`)
	quick := j.accepted(j.here, "waiter", `"module_id":7,"is_async":true,"wait_time":0`)
	j.want(j.there, quick, "redirected")
	j.want(j.there, slow, "redirected")
	found := map[string]bool{}
	for _, e := range j.about("waiter", 3) {
		found[e.brief()] = true
	}
	if !found[updated+" "+slow] || !found[redirected+" "+slow+"-r"] || !found[redirected+" "+quick] {
		j.t.Errorf("events are %v", found)
	}
}

// A deleted user takes pending redirects along, and is a stranger to the one who deleted at once. Who comes back begins anew.
func (j *pair) deletion() {
	j.register(j.here, "leaver")
	id := j.accepted(j.here, "leaver", `"module_id":8,"is_async":true,"wait_time":86400,"custom_vars":{"a":1}`)
	var o outcome
	natstest.Eventually(j.t, func() bool {
		j.call(j.there, http.MethodGet, "/v1/triggers/"+id, "", "").must(http.StatusOK).into(&o)
		return o.Status == "scheduled"
	}, "the redirect to be scheduled")
	if u := j.user(j.there, "leaver"); len(u.Pending) != 1 || u.Pending[0].TriggerID != id || u.Pending[0].ModuleID != eight || u.Module != seven {
		j.t.Errorf("state is %+v", u)
	}
	j.patiently(func() answer { return j.call(j.here, http.MethodDelete, "/v1/users/leaver", "", "") }).must(http.StatusNoContent)
	j.call(j.there, http.MethodGet, "/v1/users/leaver", "", "").must(http.StatusNotFound)
	if o := j.want(j.there, id, "rejected"); o.Reason != "user_deleted" {
		j.t.Errorf("outcome is %+v", o)
	}
	// The other ingress has never heard of the user: it asks. The one that deleted has forgotten.
	if r := j.trigger(j.there, "leaver", `"module_id":8`); r.Code != "unknown_user" {
		j.t.Errorf("trigger after the deletion: %d %s", r.code, r.body)
	}
	natstest.Eventually(j.t, func() bool {
		return j.call(j.here, http.MethodDelete, "/v1/users/leaver", "", "").code == http.StatusNotFound
	}, "a second deletion to find nobody")
	j.register(j.here, "leaver")
	if u := j.user(j.there, "leaver"); u.Version != 1 || len(u.Vars) != 0 || len(u.Pending) != 0 {
		j.t.Errorf("the new user is %+v", u)
	}
	e := j.tells("leaver", updated+" "+id, rejected+" "+id+"-r")[1]
	if e.Data.Reason != "user_deleted" || e.Data.TriggerID != id {
		j.t.Errorf("event is %+v", e)
	}
}

// One question with wait spans the whole life of a delayed trigger.
func (j *pair) longPoll() {
	j.register(j.here, "poller")
	id := j.accepted(j.here, "poller", `"module_id":8,"is_async":true,"wait_time":0.4`)
	var o outcome
	j.call(j.there, http.MethodGet, "/v1/triggers/"+id+waiting, "", "").must(http.StatusOK).into(&o)
	if o.Status != "redirected" || o.UserID != "poller" || *o.UserVersion != 3 {
		j.t.Errorf("outcome is %+v", o)
	}
	var u state
	j.call(j.there, http.MethodGet, "/v1/users/poller", "", "").must(http.StatusOK).into(&u)
	if u.Module != eight || len(u.Pending) != 0 {
		j.t.Errorf("state is %+v", u)
	}
}

// Only is_async true moves a conversation; all else changes the variables alone, and their names are case-sensitive.
func (j *pair) noRedirect() {
	j.register(j.here, "stayer")
	var ids []string
	for _, rest := range []string{`"module_id":8,"custom_vars":{"A":1}`, `"module_id":8,"is_async":false,"custom_vars":{"a":"x"}`,
		`"module_id":null,"is_async":true,"custom_vars":{"a":{"b":[1.0]}}`} {
		r := j.trigger(j.there, "stayer", rest)
		if r.code != http.StatusOK || r.Redirect {
			j.t.Errorf("%s: %d %s", rest, r.code, r.body)
		}
		ids = append(ids, r.ID)
		j.want(j.here, r.ID, "applied")
	}
	u := j.user(j.here, "stayer")
	if u.Module != seven || u.Version != 4 || string(u.Vars["A"]) != "1" || string(u.Vars["a"]) != `{"b":[1.0]}` {
		j.t.Errorf("state is %+v", u)
	}
	j.tells("stayer", updated+" "+ids[0], updated+" "+ids[1], updated+" "+ids[2])
}

// What nobody understands is set aside and shown to operators; the partition goes on.
func (j *pair) deadLetters() {
	j.register(j.here, "after")
	p := broker.Partition(account, "after", j.count)
	ack, err := j.js.Publish(j.t.Context(), broker.TriggersSubject(p), []byte("not a batch"))
	if err != nil {
		j.t.Fatal(err)
	}
	good := record.Record{Kind: record.Trigger, Account: []byte(account), User: []byte("after"), Vars: []record.Var{{Name: []byte("g"), Value: []byte("1")}}}
	bad := fmt.Appendf(nil, `{"type":"trigger","account":%q,"user":"after","surprise":1}`, account)
	mixed := j.foreign(p, time.Now(), append(append(good.AppendTo(nil), '\n'), bad...), 2)
	j.want(j.here, j.accepted(j.there, "after", `"module_id":8,"is_async":true,"wait_time":0`), "redirected")
	if u := j.user(j.here, "after"); u.Version != 3 || string(u.Vars["g"]) != "1" || u.Module != eight {
		j.t.Errorf("state is %+v", u)
	}
	j.call(j.here, http.MethodGet, "/v1/deadletters", "", "").must(http.StatusForbidden)
	var list struct {
		DeadLetters []struct {
			ID     string
			Reason string
		} `json:"dead_letters"`
	}
	j.callAs(j.admin, j.there, http.MethodGet, "/v1/deadletters", "", "").must(http.StatusOK).into(&list)
	want := map[string]bool{j.id(p, ack.Sequence): true, fmt.Sprintf("%d-%d-1", p, mixed): true}
	for _, l := range list.DeadLetters {
		if !want[l.ID] || l.Reason == "" {
			j.t.Errorf("dead letter %+v", l)
		}
		delete(want, l.ID)
	}
	if len(want) > 0 {
		j.t.Errorf("dead letters are %+v, missing are %v", list, want)
	}
}

// foreign appends a batch of n records that no ingress has written, and returns where it is.
func (f *fleet) foreign(p int, at time.Time, payload []byte, n int) uint64 {
	f.t.Helper()
	batch := record.Batch{Version: record.Version, Writer: "foreign", Time: at.UnixMilli(), Count: n, Payload: payload}
	ack, err := f.js.PublishMsg(f.t.Context(), &nats.Msg{Subject: broker.TriggersSubject(p), Header: batch.Header(), Data: payload})
	if err != nil {
		f.t.Fatal(err)
	}
	return ack.Sequence
}

// Another account sees nothing of this one's, and can touch nothing.
func (j *pair) otherEyes() {
	j.register(j.here, "private")
	id := j.accepted(j.here, "private", `"module_id":8,"is_async":true,"wait_time":0`)
	j.want(j.here, id, "redirected")
	other := *j.fleet
	other.token = other.issueTo("stranger", "trigger runtime")
	for _, path := range []string{"/v1/users/private", "/v1/triggers/" + id, "/v1/triggers/" + id + waiting} {
		other.call(j.there, http.MethodGet, path, "", "").must(http.StatusNotFound)
	}
	other.call(j.there, http.MethodDelete, "/v1/users/private", "", "").must(http.StatusNotFound)
	if r := other.trigger(j.there, "private", `"module_id":8`); r.Code != "unknown_user" {
		j.t.Errorf("a stranger's trigger: %d %s", r.code, r.body)
	}
	other.patiently(func() answer { return other.put(j.there, "private", `{"custom_vars":{"x":1}}`) }).must(http.StatusOK) // of the same name, theirs
	if r := other.trigger(j.there, "private", `"module_id":8`); r.Code != "unknown_module" {
		j.t.Errorf("a stranger's trigger: %d %s", r.code, r.body)
	}
	if u := j.user(j.there, "private"); u.Version != 2 || len(u.Vars) != 0 || u.Module != eight {
		j.t.Errorf("state is %+v", u)
	}
}

// A delayed redirect outlives worker, broker and ingress. One that came due while there was no worker fires when there is one again; none fires
// early, by the clock of the events.
func TestDelayedRedirectOutlivesEverything(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1)
	w, in := f.worker(), f.ingress()
	f.setUp(in)
	f.register(in, "u", "v")
	ids := []string{
		f.accepted(in, "u", `"module_id":8,"is_async":true,"wait_time":0.3,"custom_vars":{"a":1}`),
		f.accepted(in, "u", `"module_id":1000,"is_async":true,"wait_time":2`),
		f.accepted(in, "v", `"module_id":8,"is_async":true,"wait_time":2.5,"custom_vars":{"a":1}`),
	}
	due := map[string]time.Time{}
	for _, name := range []string{"u", "v"} {
		u := f.user(in, name)
		for _, p := range u.Pending {
			due[p.TriggerID] = p.DueAt
		}
		if string(u.Vars["a"]) != "1" {
			t.Errorf("variables wait for the redirect: %+v", u)
		}
	}
	w.stop()
	in.stop()
	f.nats.Kill()
	f.nats.Boot()
	w, in = f.worker(), f.ingress()
	for _, id := range ids {
		f.want(in, id, "redirected")
	}
	times := map[string]time.Time{}
	for _, e := range append(f.about("u", 4), f.about("v", 2)...) {
		times[e.brief()] = e.Time
	}
	for _, id := range ids {
		fired, ok := times[redirected+" "+id+"-r"]
		if at, pending := due[id]; !ok || pending && fired.Before(at) {
			t.Errorf("%s was due at %v and fired at %v", id, at, fired)
		}
	}
	if u := f.user(in, "u"); u.Module != far || u.BotID != "other" || u.Version != 5 || len(u.Pending) != 0 {
		t.Errorf("state is %+v", u)
	}
	before := f.digests(w.admin)
	w.stop()
	f.sameDigests(f.worker("-data-dir", t.TempDir()).admin, before, "after a replay of everything")
}

// Outcomes are kept for a while of stream time, in whole hours. What was written hours ago has one until somebody writes now.
func TestOutcomeExpires(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1)
	in := f.ingress()
	f.setUp(in)
	long := time.Now().Add(-3 * time.Hour)
	f.backdate(long)
	register := record.Record{Kind: record.Register, Account: []byte(account), User: []byte("u"), Bot: []byte("bot"), Module: seven, HasModule: true}
	f.foreign(0, long, register.AppendTo(nil), 1)
	trigger := record.Record{Kind: record.Trigger, Account: []byte(account), User: []byte("u"), Vars: []record.Var{{Name: []byte("a"), Value: []byte("1")}}}
	id := f.id(0, f.foreign(0, long, trigger.AppendTo(nil), 1))
	f.worker()
	f.want(in, id, "applied")
	f.want(in, f.accepted(in, "u", `"module_id":null`), "applied")
	var problem struct{ Code string }
	f.call(in, http.MethodGet, "/v1/triggers/"+id, "", "").must(http.StatusNotFound).into(&problem)
	if problem.Code != "outcome_expired" {
		t.Errorf("an expired outcome is %+v", problem)
	}
	f.call(in, http.MethodGet, "/v1/triggers/0-4711-0", "", "").must(http.StatusNotFound).into(&problem)
	if problem.Code != "not_found" {
		t.Errorf("an outcome that never was is %+v", problem)
	}
	if u := f.user(in, "u"); u.Version != 3 || string(u.Vars["a"]) != "1" {
		t.Errorf("state is %+v", u)
	}
}

// backdate makes an unused log anew, with a first record of long ago: a partition's clock does not go back.
func (f *fleet) backdate(at time.Time) {
	f.t.Helper()
	stream := f.log(0)
	msg, err := stream.GetMsg(f.t.Context(), 1)
	if err != nil {
		f.t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if err := f.js.DeleteStream(f.t.Context(), cfg.Name); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.js.CreateStream(f.t.Context(), cfg); err != nil {
		f.t.Fatal(err)
	}
	f.foreign(0, at, msg.Data, 1)
}
