package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

// keyed sends a trigger under an idempotency key; rest is what follows user_id in the body.
func (f *fleet) keyed(to *member, user, key, rest string) reply {
	f.t.Helper()
	ctx, cancel := f.patient()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.addr+triggers, strings.NewReader(`{"user_id":`+strconv.Quote(user)+`,`+rest+`}`))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("Content-Type", jsonMedia)
	r := reply{answer: f.do(req)}
	r.into(&r)
	return r
}

// mustReplay fails the test unless r is the first answer again.
func (f *fleet) mustReplay(r reply, id string) {
	f.t.Helper()
	if r.code != http.StatusOK || r.ID != id || r.header.Get("Idempotency-Replayed") != "true" {
		f.t.Errorf("repeated: %d %s (replayed: %q), want %s again", r.code, r.body, r.header.Get("Idempotency-Replayed"), id)
	}
}

const paid = `"module_id":8,"is_async":true,"custom_vars":{"paid":true}`

// What is sent again under its key is answered as the first time, by whichever ingress, at once, and after the worker came again: with its file, with an
// empty disk, and with nobody to ask for a while. It has one effect and one event.
func TestRepeatedUnderItsKey(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.worker()
	here, there := f.ingress(), f.ingress()
	f.setUp(here)
	f.register(here, "u")
	first := f.keyed(here, "u", "order-17", paid)
	first.must(http.StatusOK)
	if first.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first one is said to be replayed")
	}
	f.mustReplay(f.keyed(there, "u", "order-17", paid), first.ID) // the very next request, at another ingress
	f.mustReplay(f.keyed(here, "u", "order-17", ` "custom_vars" : {"paid" : true} , "is_async":true, "module_id" : "8"`), first.ID)
	f.keyed(there, "u", "order-17", `"module_id":null`).must(http.StatusUnprocessableEntity)
	f.keyed(here, "u", "order 17", paid).must(http.StatusBadRequest)
	other := f.keyed(here, "u", "order-18", paid)
	other.must(http.StatusOK)

	w.stop()
	w = f.worker()
	natstest.Eventually(t, func() bool { // a worker serves a moment after it has started
		r := f.keyed(here, "u", "order-17", paid)
		return r.must(http.StatusOK).header.Get("Idempotency-Replayed") == "true" && r.ID == first.ID
	}, "the key to be known to the worker that has come again")
	w.stop()
	hurried := f.ingress("-check-timeout", "1ms")
	late := f.keyed(hurried, "u", "order-17", paid)
	late.must(http.StatusOK)
	changed := f.keyed(hurried, "u", "order-17", `"module_id":null`)
	changed.must(http.StatusOK)
	if late.ID == first.ID || late.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("while there is nobody to ask: %s, replayed %q", late.body, late.header.Get("Idempotency-Replayed"))
	}
	w = f.worker("-data-dir", t.TempDir())
	if o := f.want(here, late.ID, "duplicate"); o.DuplicateOf != first.ID {
		t.Errorf("the outcome is %+v, want a duplicate of %s", o, first.ID)
	}
	if o := f.want(here, changed.ID, "rejected"); o.Reason != "idempotency_mismatch" {
		t.Errorf("the outcome is %+v", o)
	}
	f.mustReplay(f.keyed(there, "u", "order-17", paid), first.ID)
	f.tells("u", redirected+" "+first.ID, redirected+" "+other.ID, rejected+" "+changed.ID)
	if u := f.user(here, "u"); u.Version != 3 {
		t.Errorf("the user was changed %d times, want 3", u.Version)
	}
	if keys := f.metric(w, "triggerd_worker_idempotency_keys", ""); keys != 2 {
		t.Errorf("%v keys are remembered, want 2", keys)
	}
}

// However many send the same at once, and to whom, it happens once, and everybody hears of an accepted trigger whose outcome leads there.
func TestRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	members := []*member{f.ingress(), f.ingress()}
	f.setUp(members[0])
	const users, callers = 10, 20
	for u := range users {
		f.register(members[0], "u"+strconv.Itoa(u))
	}
	replies := make([][]reply, users)
	var calls sync.WaitGroup
	for u := range users {
		replies[u] = make([]reply, callers)
		for i := range callers {
			calls.Go(func() { replies[u][i] = f.keyed(members[i%2], "u"+strconv.Itoa(u), "k", paid) })
		}
	}
	calls.Wait()
	for u := range users {
		effects := map[string]bool{}
		for _, r := range replies[u] {
			r.must(http.StatusOK)
			o := f.fate(members[0], r.ID)
			switch o.Status {
			case "redirected":
				effects[r.ID] = true
			case "duplicate":
				effects[o.DuplicateOf] = true
			default:
				t.Errorf("came to %+v", o)
			}
		}
		if s := f.user(members[0], "u"+strconv.Itoa(u)); s.Version != 2 || len(effects) != 1 {
			t.Errorf("user %d was changed %d times by %v", u, s.Version-1, effects)
		}
	}
}

// A batch that is sent again, all of it or in part, adds what is new and answers the rest as the first time.
func TestBatchRepeatedUnderKeys(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	in := f.ingress()
	f.setUp(in)
	f.register(in, "a", "b")
	item := func(user, key string) string {
		return `{"user_id":"` + user + `","idempotency_key":"` + key + `",` + paid + `}`
	}
	send := func(items ...string) (results []struct {
		Status   int
		ID       string `json:"trigger_id"`
		Replayed bool
	}) {
		t.Helper()
		f.call(in, http.MethodPost, triggers+"batch/", jsonMedia, "["+strings.Join(items, ",")+"]").must(http.StatusOK).into(&results)
		for i, r := range results {
			if r.Status != http.StatusOK {
				t.Errorf("item %d: %+v", i, r)
			}
		}
		return results
	}
	first := send(item("a", "1"), item("b", "1"), item("a", "1")) // the last one finds the first, which its user's order puts before it
	if first[2].ID != first[0].ID || !first[2].Replayed || first[0].Replayed || first[1].Replayed {
		t.Errorf("one key twice in a batch: %+v", first)
	}
	again := send(item("b", "1"), item("a", "2"), item("a", "1"))
	if again[0].ID != first[1].ID || !again[0].Replayed || again[1].Replayed || again[2].ID != first[0].ID || !again[2].Replayed {
		t.Errorf("after %+v: %+v", first, again)
	}
	f.tells("a", redirected+" "+first[0].ID, redirected+" "+again[1].ID)
	f.tells("b", redirected+" "+first[1].ID)
}

// A partition whose budget is spent says so, and goes on with what needs no room.
func TestBudgetOfKeys(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1, "-max-keys", "2")
	w := f.worker()
	in := f.ingress()
	f.setUp(in)
	f.register(in, "u")
	first := f.keyed(in, "u", "k1", paid)
	first.must(http.StatusOK)
	f.keyed(in, "u", "k2", paid).must(http.StatusOK)
	full := f.keyed(in, "u", "k3", paid)
	if full.must(http.StatusTooManyRequests); full.Code != "key_budget" || full.header.Get("Retry-After") == "" {
		t.Errorf("answer %s, Retry-After %q", full.body, full.header.Get("Retry-After"))
	}
	f.mustReplay(f.keyed(in, "u", "k1", paid), first.ID)
	f.accepted(in, "u", paid)
	if keys, most := f.metric(w, "triggerd_worker_idempotency_keys", ""), f.metric(w, "triggerd_worker_idempotency_keys_max", ""); keys != 2 || most != 2 {
		t.Errorf("%v of %v keys are shown", keys, most)
	}
}

// An ingress that is not sure what became of a trigger need not be asked: the caller sends it again, wherever, and it happens once.
func TestUnknownOutcomeRepeatedUnderItsKey(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1)
	f.worker()
	px, cut, whole := f.behind()
	px.Hold(natstest.ToClient)
	r := f.keyed(cut, "u", "k", paid)
	if !r.refused() || r.Code != "unknown_outcome" {
		t.Fatalf("trigger: %d %s, want an unknown outcome", r.code, r.body)
	}
	first := f.want(whole, r.Receipt, "redirected")
	f.mustReplay(f.keyed(whole, "u", "k", paid), first.TriggerID)
	px.Cut()
	f.tells("u", redirected+" "+first.TriggerID)
}
