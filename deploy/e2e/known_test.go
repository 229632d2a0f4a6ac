package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

// A user whose registration was answered by one ingress must be known to the other at once: by PUT, which is answered when it is applied (200) or
// not (202), and by import, which is answered when it is in the log. A user whom nobody registered is refused, however much is going on.
func TestRegisteredHereIsKnownThere(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	here, there := f.ingress(), f.ingress()
	f.setUp(here)
	const users, parallel = 1000, 16
	var wg sync.WaitGroup
	for first := range parallel {
		wg.Go(func() {
			for n := first; n < users; n += parallel {
				f.registerAndTrigger(here, there, fmt.Sprintf("user-%d", n), n%4 == 0)
				if n%5 != 0 {
					continue
				}
				if r := f.trigger(there, fmt.Sprintf("stranger-%d", n), `"module_id":7`); r.code != http.StatusBadRequest || r.Code != "unknown_user" {
					t.Errorf("a stranger: %d %s", r.code, r.body)
				}
			}
		})
	}
	wg.Wait()
	if n := f.metric(there, "triggerd_ingress_unverified_accepts_total", ""); n != 0 {
		t.Errorf("%g triggers were accepted without the owner's word", n)
	}
}

func (f *fleet) registerAndTrigger(here, there *member, user string, imports bool) {
	f.t.Helper()
	a := f.patiently(func() answer {
		if imports {
			return f.call(here, http.MethodPost, "/v1/users", linesMedia, fmt.Sprintf(`{"user_id":%q,"bot_id":"bot","module_id":7}`, user))
		}
		return f.put(here, user, `{"bot_id":"bot","module_id":7}`)
	})
	if a.code != http.StatusOK && a.code != http.StatusAccepted {
		f.t.Errorf("register %s: %d %s", user, a.code, a.body)
		return
	}
	a = f.patiently(func() answer { return f.trigger(there, user, `"module_id":8,"is_async":true`).answer })
	if a.code != http.StatusOK {
		f.t.Errorf("trigger for %s: %d %s", user, a.code, a.body)
	}
}

// Accepting does not depend on the owner. While it is gone, or there and mute, triggers are accepted without its word, and it is soon not asked
// at all; when it is back it judges.
func TestOwnerIsSilent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		silence func(f *fleet, w *member, px *natstest.Proxy)
		back    func(f *fleet, px *natstest.Proxy)
	}{
		{"gone", func(_ *fleet, w *member, _ *natstest.Proxy) { w.stop() }, func(f *fleet, _ *natstest.Proxy) { f.worker() }},
		{"mute", func(_ *fleet, _ *member, px *natstest.Proxy) { px.Hold() }, func(_ *fleet, px *natstest.Proxy) { px.Release() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFleetOf(t, 1)
			px := f.nats.Proxy()
			w, in := f.worker("-nats-url", px.URL()), f.ingress("-check-timeout", "100ms")
			f.setUp(in)
			f.register(in, "known")
			c.silence(f, w, px)
			id, strangers := f.acceptUnverified(in)
			c.back(f, px)
			f.want(in, id, "redirected")
			for i, s := range strangers {
				if o := f.want(in, s, "rejected"); o.Reason != "unknown_user" {
					t.Errorf("outcome is %+v", o)
				}
				e := f.tells(fmt.Sprintf("stranger-%d", i), rejected+" "+s)[0]
				if e.Data.Reason != "unknown_user" || e.Data.TriggerID != s {
					t.Errorf("event is %+v", e)
				}
			}
			f.tells("known", redirected+" "+id)
			if u := f.user(in, "known"); u.Version != 2 || u.Module != eight {
				t.Errorf("state is %+v", u)
			}
		})
	}
}

// acceptUnverified sends triggers of a known user and of strangers until the breaker has kept one from asking.
func (f *fleet) acceptUnverified(in *member) (known string, strangers []string) {
	f.t.Helper()
	const unverified, checks = "triggerd_ingress_unverified_accepts_total", "triggerd_ingress_checks_total"
	before := f.metric(in, unverified, "")
	strangers = append(strangers, f.accepted(in, "stranger-0", `"module_id":8,"is_async":true`))
	known = f.accepted(in, "known", `"module_id":8,"is_async":true`)
	natstest.Eventually(f.t, func() bool {
		if f.metric(in, checks, "skipped") > 0 {
			return true
		}
		strangers = append(strangers, f.accepted(in, fmt.Sprintf("stranger-%d", len(strangers)), `"module_id":8,"is_async":true`))
		return false
	}, "the owner not to be asked")
	if f.metric(in, checks, "silent") == 0 {
		f.t.Error("the owner was never asked")
	}
	// The known user may still be in the ingress's cache, and verified by that.
	if n := f.metric(in, unverified, "") - before; n != float64(len(strangers)) && n != float64(len(strangers)+1) {
		f.t.Errorf("%g unverified accepts, sent were %d strangers and a known user", n, len(strangers))
	}
	return known, strangers
}

// Accepting goes on over any change of workers, and nothing is lost or doubled by it.
func TestWorkerIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.worker()
	in := f.ingress()
	f.setUp(in)
	b := f.startBurst(in)
	for range 3 {
		b.more(150)
		w.stop()
		b.more(150)
		w = f.worker()
	}
	b.more(150)
	b.end()
	b.audit(in)
}

// What PUT has answered with 200 is read by the next GET, wherever that goes.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	here, there := f.ingress(), f.ingress()
	f.setUp(here)
	for n := range 100 {
		user := fmt.Sprintf("writer-%d", n%10)
		body := fmt.Sprintf(`{"bot_id":"bot","module_id":7,"custom_vars":{"n":%d,"k%d":%d}}`, n, n/10, n)
		f.patiently(func() answer { return f.put(here, user, body) }).must(http.StatusOK)
		u := f.user(there, user)
		if string(u.Vars["n"]) != fmt.Sprint(n) || len(u.Vars) != 2+n/10 || u.Version != uint64(1+n/10) {
			t.Fatalf("after write %d the user is %+v", n, u)
		}
	}
}

// An import of thousands, bad lines among them, is told line by line, and complete.
func TestImport(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.worker()
	in := f.ingress()
	f.setUp(in)
	const users = 5000
	var lines strings.Builder
	for n := range users {
		fmt.Fprintf(&lines, `{"user_id":"user-%d","bot_id":"bot","module_id":7,"custom_vars":{"n":%d}}`+"\n", n, n)
		if n%1000 == 0 {
			fmt.Fprintf(&lines, `{"user_id":"user-%d","module_id":4711}`+"\n", n)
		}
	}
	var result struct {
		Imported, Failed int
		Errors           []struct {
			Line int
			Code string
		}
	}
	attempts := uint64(0)
	f.patiently(func() answer {
		attempts++
		return f.call(in, http.MethodPost, "/v1/users", linesMedia, lines.String())
	}).must(http.StatusOK).into(&result)
	if result.Imported != users || result.Failed != 5 || len(result.Errors) != 5 {
		t.Fatalf("result is %+v", result)
	}
	for i, e := range result.Errors {
		if e.Line != 1001*i+2 || e.Code != "unknown_module" {
			t.Errorf("error %d is %+v", i, e)
		}
	}
	for n := 0; n < users; n += 50 {
		if u := f.user(in, fmt.Sprintf("user-%d", n)); string(u.Vars["n"]) != fmt.Sprint(n) || u.Version < 1 || u.Version > attempts || u.BotID != "bot" {
			t.Errorf("user %d is %+v", n, u)
		}
	}
	f.call(in, http.MethodGet, fmt.Sprintf("/v1/users/user-%d", users), "", "").must(http.StatusNotFound)
}
