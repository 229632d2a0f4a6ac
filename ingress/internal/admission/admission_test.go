package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/statequery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKnownUserIsAskedForOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		first := ask(t.Context(), a, "alice")
		q := o.next()
		if q.p != 1 || q.req.WaitMillis != 0 || !slices.Equal(q.req.Check, []statequery.Check{{Account: "demo", User: "alice"}}) {
			t.Errorf("asked %d for %+v", q.p, q.req)
		}
		q.knows("alice")
		first.want(t, Known)
		ask(t.Context(), a, "alice").want(t, Known)
		o.notAsked()

		pass(DefaultCacheTTL)
		again := ask(t.Context(), a, "alice")
		o.next().knows("alice")
		again.want(t, Known)
	})
}

func TestUnknownIsSaidOnlyWhenFinalAndNeverCached(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		for range 2 {
			caller := ask(t.Context(), a, "nobody")
			o.next().knows()
			q := o.next()
			if q.req.WaitMillis <= 0 || q.req.WaitMillis >= DefaultTimeout.Milliseconds() {
				t.Errorf("patient question may be held for %d ms", q.req.WaitMillis)
			}
			q.knows()
			caller.want(t, Unknown)
		}
	})
}

func TestQuickAnswerMayBeFinal(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		caller := ask(t.Context(), a, "nobody")
		o.next().answer <- answer{statequery.Reply{Known: []bool{false}}, nil}
		caller.want(t, Unknown)
	})
}

func TestOwnerThatIsBehindDeniesNothing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		caller := ask(t.Context(), a, "newcomer")
		o.next().knows()
		o.next().answer <- answer{statequery.Reply{Known: []bool{false}}, statequery.ErrBehind}
		caller.want(t, Unverified)
		// It is there, so the breaker stays closed.
		caller = ask(t.Context(), a, "alice")
		o.next().knows("alice")
		caller.want(t, Known)
	})
}

func TestCallersGatherWhileARequestIsInFlight(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		first := ask(t.Context(), a, "first")
		q := o.next()
		others := askMany(t, a, "u", 999)
		o.notAsked()
		q.knows("first")
		first.want(t, Known)
		q = o.next()
		if len(q.req.Check) != 999 {
			t.Errorf("%d users in the second request", len(q.req.Check))
		}
		q.knows(q.users()...)
		for _, c := range others {
			c.want(t, Known)
		}
		o.notAsked()
	})
}

func TestSameUserTakesOneSlot(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		first := ask(t.Context(), a, "first")
		q := o.next()
		var same []*asking
		for range 500 {
			same = append(same, ask(t.Context(), a, "alice"), ask(t.Context(), a, "bob"))
		}
		synctest.Wait()
		q.knows("first")
		first.want(t, Known)
		q = o.next()
		if names := q.users(); len(names) != 2 {
			t.Errorf("asked for %v", names)
		}
		q.knows("alice", "bob")
		for _, c := range same {
			c.want(t, Known)
		}
		o.notAsked()
	})
}

func TestGatheringsAreBounded(t *testing.T) {
	bubble(t, Config{MaxChecks: 10, MaxGatherings: 3}, func(t *testing.T, a *Admission, o *owner) {
		ask(t.Context(), a, "first")
		q := o.next()
		waiting := askMany(t, a, "u", 30)
		synctest.Wait()
		ask(t.Context(), a, "one too many").want(t, Unverified)
		for range 3 {
			q.knows(q.users()...)
			q = o.next()
			if len(q.req.Check) != 10 {
				t.Errorf("%d users in a request", len(q.req.Check))
			}
		}
		q.knows(q.users()...)
		for _, c := range waiting {
			c.want(t, Known)
		}
	})
}

// Names of the greatest length, every character of which is escaped on the wire, must not make a request that is too large for the broker.
func TestGatheringsAreBoundedInBytes(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		var all []*asking
		for i := range 1001 {
			all = append(all, ask(t.Context(), a, fmt.Sprintf("%04d%s", i, strings.Repeat(`"`, 252))))
		}
		for served := 0; served < 1001; {
			q := o.next() // Ask checks that the request can be sent
			served += len(q.req.Check)
			q.knows(q.users()...)
		}
		for _, c := range all {
			c.want(t, Known)
		}
	})
}

func TestStrangersHoldUpNobody(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		strangers := []*asking{}
		for i := range patientAtOnce + 2 {
			strangers = append(strangers, ask(t.Context(), a, fmt.Sprint("stranger", i)))
			o.next().knows()
			if i < patientAtOnce {
				defer o.next().knows() // held by the owner
			}
		}
		friend := ask(t.Context(), a, "alice")
		o.next().knows("alice")
		friend.want(t, Known)
		for _, c := range strangers {
			c.want(t, Unverified)
		}
	})
}

func TestForgetBeatsAnAnswerInFlight(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		a.Learn("demo", "alice")
		ask(t.Context(), a, "alice").want(t, Known)
		a.Forget("demo", "alice")

		before := ask(t.Context(), a, "alice")
		q := o.next()
		a.Forget("demo", "alice")
		q.knows("alice") // what the owner saw before the deletion
		before.want(t, Known)

		after := ask(t.Context(), a, "alice")
		o.next().knows()
		o.next().knows()
		after.want(t, Unknown)
	})
}

func TestOneCallersEndHarmsNobody(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		ctx, cancel := context.WithCancel(t.Context())
		first, second := ask(ctx, a, "alice"), ask(t.Context(), a, "alice")
		q := o.next()
		third, fourth := ask(ctx, a, "bob"), ask(t.Context(), a, "bob")
		synctest.Wait()
		cancel()
		first.want(t, Unverified)
		third.want(t, Unverified)
		q.knows("alice")
		q = o.next()
		q.knows(q.users()...)
		second.want(t, Known)
		fourth.want(t, Known)
	})
}

// The ingress hands over names that lie in a buffer which it uses again for the next request.
func TestNamesAreTheCallersAgainAfterUser(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		ask(t.Context(), a, "first")
		q := o.next()
		name := []byte("alice")
		ctx, cancel := context.WithCancel(t.Context())
		leaver := ask(ctx, a, unsafe.String(&name[0], len(name)))
		synctest.Wait()
		cancel()
		leaver.want(t, Unverified)
		copy(name, "mallo")
		q.knows("first")
		q = o.next()
		if !slices.Equal(q.users(), []string{"alice"}) {
			t.Errorf("asked for %v", q.users())
		}
		q.knows("alice")
	})
}

func TestCloseLetsEveryoneGo(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		inFlight := ask(t.Context(), a, "alice")
		o.next()
		waiting := askMany(t, a, "u", 10)
		synctest.Wait()
		a.Learn("demo", "bob")
		a.Close()
		for _, c := range append(waiting, inFlight) {
			c.want(t, Unverified)
			if c.ended != c.started {
				t.Error("caller waited after Close")
			}
		}
		ask(t.Context(), a, "alice").want(t, Unverified)
		ask(t.Context(), a, "bob").want(t, Known)
		o.notAsked()
	})
}

func TestWhatCannotBeAskedIsUnverified(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		for _, c := range []struct {
			p             int
			account, user string
		}{{-1, "demo", "alice"}, {2, "demo", "alice"}, {0, "", "alice"}, {0, "demo", ""}, {0, "demo", "\xff"}, {0, "demo", strings.Repeat("u", 257)}} {
			if v := a.User(t.Context(), c.p, c.account, c.user); v != Unverified {
				t.Errorf("%+v: %v", c, v)
			}
		}
		o.notAsked()
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		o := &owner{t: t, asked: make(chan question, 100)}
		a, err := New(Config{Partitions: 2}, Deps{Asker: o, Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
		caller := ask(t.Context(), a, "alice")
		o.next().knows("alice")
		caller.want(t, Known)
		ask(t.Context(), a, "alice").want(t, Known)
		caller = ask(t.Context(), a, "bob")
		o.next().fails(statequery.ErrSilent)
		caller.want(t, Unverified)
		ask(t.Context(), a, "bob").want(t, Unverified)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP triggerd_ingress_check_breaker_open 1 while a partition's owner is not asked because it was silent. Bad for minutes: nobody serves the partition; see worker inspect. Triggers are accepted all the same.
# TYPE triggerd_ingress_check_breaker_open gauge
triggerd_ingress_check_breaker_open{partition="0"} 0
triggerd_ingress_check_breaker_open{partition="1"} 1
# HELP triggerd_ingress_checks_total Users that were not in the cache, by what asking for them gave; all but known and unknown are unverified. Bad if silent, behind or skipped rise: the partition's worker is away or slow.
# TYPE triggerd_ingress_checks_total counter
triggerd_ingress_checks_total{result="behind"} 0
triggerd_ingress_checks_total{result="cancelled"} 0
triggerd_ingress_checks_total{result="full"} 0
triggerd_ingress_checks_total{result="invalid"} 0
triggerd_ingress_checks_total{result="known"} 1
triggerd_ingress_checks_total{result="silent"} 1
triggerd_ingress_checks_total{result="skipped"} 1
triggerd_ingress_checks_total{result="unknown"} 0
# HELP triggerd_ingress_known_users Users in the cache of known users, expired ones included; at most -cache-users.
# TYPE triggerd_ingress_known_users gauge
triggerd_ingress_known_users 1
# HELP triggerd_ingress_known_users_hits_total Users found in the cache of known users.
# TYPE triggerd_ingress_known_users_hits_total counter
triggerd_ingress_known_users_hits_total 1
# HELP triggerd_ingress_known_users_misses_total Users not found in the cache of known users; each is asked for.
# TYPE triggerd_ingress_known_users_misses_total counter
triggerd_ingress_known_users_misses_total 3
`), "triggerd_ingress_check_breaker_open", "triggerd_ingress_checks_total", "triggerd_ingress_known_users",
			"triggerd_ingress_known_users_hits_total", "triggerd_ingress_known_users_misses_total"); err != nil {
			t.Error(err)
		}
		pass(DefaultBreaker)
		if got := a.partitions[1].broken(); got != 0 {
			t.Errorf("breaker shown open after its time: %v", got)
		}
	})
}

func TestFaultyConfigIsRefused(t *testing.T) {
	_, err := New(Config{Timeout: -1, MaxChecks: 1001}, Deps{Asker: &owner{}})
	for _, word := range []string{"partitions", "timeout", "max checks"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
	if _, err := New(Config{Partitions: 1}, Deps{}); err == nil {
		t.Error("New without an asker")
	}
}
