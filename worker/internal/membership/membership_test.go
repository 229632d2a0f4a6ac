package membership

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// rig is a real broker with the bucket, of a short TTL.
type rig struct {
	t   *testing.T
	srv *natstest.Server
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{t: t, srv: natstest.Start(t, natstest.Lazy())}
}

func (r *rig) broker(url string) *broker.Broker {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), natstest.Patience)
	defer cancel()
	b, err := broker.Ensure(ctx, r.srv.ConnectTo(url), broker.Settings{Partitions: 1, MemberTTL: 900 * time.Millisecond,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// joined is a member that lives until kill or leave.
type joined struct {
	*Membership
	t    *testing.T
	kill func() // as if the process was killed
}

func (r *rig) join(id, home string, reg prometheus.Registerer) *joined {
	return r.joinVia(r.srv.URL(), id, home, reg)
}

func (r *rig) joinVia(url, id, home string, reg prometheus.Registerer) *joined {
	r.t.Helper()
	m := New(Config{Self: Member{ID: id, Home: home, Host: "test", Started: time.Now()}, Timeout: time.Second}, Deps{Broker: r.broker(url), Registerer: reg})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx) })
	j := &joined{Membership: m, t: r.t, kill: sync.OnceFunc(func() { cancel(); wg.Wait() })}
	r.t.Cleanup(j.kill)
	return j
}

func (j *joined) leave() {
	j.t.Helper()
	j.kill()
	if err := j.Leave(context.Background()); err != nil {
		j.t.Error(err)
	}
}

// sees waits for the view to have exactly these members, being told of each change.
func (j *joined) sees(ids ...string) View {
	j.t.Helper()
	patience := time.After(natstest.Patience)
	for {
		v := j.View()
		same := v.Known && len(v.Members) == len(ids)
		for _, id := range ids {
			_, ok := v.Find(id)
			same = same && ok
		}
		if same {
			return v
		}
		select {
		case <-j.Changed():
		case <-patience:
			j.t.Fatalf("%s sees %+v, not %v", j.ID(), v, ids)
		}
	}
}

func TestJoinSayLeave(t *testing.T) {
	r := newRig(t)
	reg := prometheus.NewRegistry()
	a := r.join("a", "home-a", reg)
	a.sees("a")
	if n := testutil.ToFloat64(a.metrics.members); n != 1 {
		t.Errorf("members metric is %v with one worker", n)
	}
	b := r.join("b", "home-b", nil)
	a.sees("a", "b")
	b.sees("a", "b")
	b.Say(func(self *Member) { self.Serves, self.ID = []int{4}, "other" })
	natstest.Eventually(t, func() bool { m, _ := a.View().Find("b"); return m.Serving(4) }, "a hears what b says")
	if n := testutil.CollectAndCount(a.metrics.members); n != 1 || testutil.ToFloat64(a.metrics.members) != 2 {
		t.Errorf("members metric is %v", testutil.ToFloat64(a.metrics.members))
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	if detail, err := a.Check(); err != nil || detail != "worker a, 2 members" {
		t.Errorf("check says %q, %v", detail, err)
	}
	b.leave()
	if v := a.sees("a"); v.Cause != causeLeft {
		t.Errorf("cause is %q", v.Cause)
	}
}

func TestKilledMemberExpires(t *testing.T) {
	r := newRig(t)
	a, b := r.join("a", "home-a", nil), r.join("b", "home-b", nil)
	a.sees("a", "b")
	b.kill()
	if v := a.sees("a"); v.Cause != causeExpired {
		t.Errorf("cause is %q", v.Cause)
	}
}

// A worker that was killed and comes back in the same directory takes the place of its predecessor at once, and leaves nothing of it behind.
func TestSuccessorReplacesKilled(t *testing.T) {
	r := newRig(t)
	a, b := r.join("a", "home-a", nil), r.join("b", "home-b", nil)
	a.sees("a", "b")
	b.kill()
	w, err := a.bucket().WatchAll(t.Context(), jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	c := r.join("c", "home-b", nil)
	a.sees("a", "c")
	c.sees("a", "c")
	if e := firstOf(t, w, "b"); e.Operation() != jetstream.KeyValueDelete { // it did not just expire
		t.Errorf("former member was put: %s", e.Value())
	}
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	c.leave()
	a.sees("a")
}

// firstOf is the next update of a key.
func firstOf(t *testing.T, w jetstream.KeyWatcher, key string) jetstream.KeyValueEntry {
	t.Helper()
	patience := time.After(natstest.Patience)
	for {
		select {
		case e := <-w.Updates():
			if e.Key() == key {
				return e
			}
		case <-patience:
			t.Fatalf("nothing is said about %s", key)
		}
	}
}

func (j *joined) bucket() jetstream.KeyValue {
	j.t.Helper()
	bucket, err := j.deps.Broker.JS.KeyValue(j.t.Context(), broker.BucketMembers)
	if err != nil {
		j.t.Fatal(err)
	}
	return bucket
}

// A member that is cut off keeps its view and says that it cannot renew; the others let it go, and take it back when it is there again.
func TestCutOffMemberComesBack(t *testing.T) {
	r := newRig(t)
	px := r.srv.Proxy()
	a, b := r.join("a", "home-a", nil), r.joinVia(px.URL(), "b", "home-b", nil)
	a.sees("a", "b")
	b.sees("a", "b")
	px.Refuse(true)
	px.Cut()
	a.sees("a")
	natstest.Eventually(t, func() bool { _, err := b.Check(); return err != nil && !b.Reachable() }, "b shows that it cannot renew")
	if v := b.View(); len(v.Members) != 2 {
		t.Errorf("b sees %+v", v)
	}
	if testutil.ToFloat64(b.metrics.failures) == 0 {
		t.Error("failures are not counted")
	}
	px.Refuse(false)
	a.sees("a", "b")
	natstest.Eventually(t, func() bool { _, err := b.Check(); return err == nil }, "b is well")
	b.sees("a", "b")
}

// A frozen member wakes up to what it has missed, and is not confused by it.
func TestFrozenMemberComesBack(t *testing.T) {
	r := newRig(t)
	px := r.srv.Proxy()
	a, b := r.join("a", "home-a", nil), r.joinVia(px.URL(), "b", "home-b", nil)
	c := r.join("c", "home-c", nil)
	a.sees("a", "b", "c")
	b.sees("a", "b", "c")
	px.Hold()
	a.sees("a", "c")
	c.leave()
	a.sees("a")
	px.Release()
	a.sees("a", "b")
	b.sees("a", "b")
}

// Nobody vanishes because the broker was restarted.
func TestBrokerRestart(t *testing.T) {
	r := newRig(t)
	a, b := r.join("a", "home-a", nil), r.join("b", "home-b", nil)
	a.sees("a", "b")
	b.sees("a", "b")
	r.srv.Restart()
	for _, m := range []*joined{a, b} {
		natstest.Eventually(t, func() bool { _, err := m.Check(); return err == nil }, "%s is renewed", m.ID())
		m.sees("a", "b")
	}
}

// A watch may end without a word. The worker misses its own renewals in it, and watches anew.
func TestDeadWatchIsNoticed(t *testing.T) {
	r := newRig(t)
	a := r.join("a", "home-a", nil)
	a.sees("a")
	a.kill() // what follows is one step of its life
	renew := func() bool {
		a.renewOnce(t.Context(), a.bucket(), a.ttl())
		return len(a.relist) > 0
	}
	if renew() {
		t.Error("a watch that is quick enough is begun anew")
	}
	a.putAt = a.putAt.Add(-a.ttl())
	if !renew() {
		t.Error("a watch that shows no renewals is not begun anew")
	}
}

// A key that is not a member's is not fatal.
func TestUnreadableMember(t *testing.T) {
	r := newRig(t)
	a := r.join("a", "home-a", nil)
	a.sees("a")
	for _, text := range []string{"{", "{}", `{"home":7}`} {
		if _, err := a.bucket().PutString(t.Context(), "x", text); err != nil {
			t.Fatal(err)
		}
	}
	r.join("b", "home-b", nil)
	a.sees("a", "b")
}

// A worker that was not heard of for a TTL does not claim to serve what it had, not even in the renewal that brings it back: its next owners would
// let go of it, although nobody knows yet what was missed.
func TestLapse(t *testing.T) {
	r := newRig(t)
	a, b := r.join("a", "home-a", nil), r.join("b", "home-b", nil)
	a.sees("a", "b")
	a.Say(func(self *Member) { self.Serves, self.Follows, self.Halted = []int{1}, []int{2}, []int{3} })
	natstest.Eventually(t, func() bool { m, _ := b.View().Find("a"); return m.Serving(1) }, "b hears what a says")
	a.kill() // what follows is one step of its life
	a.putAt = a.putAt.Add(-2 * a.ttl())
	a.renewOnce(t.Context(), a.bucket(), a.ttl())
	natstest.Eventually(t, func() bool { m, ok := b.View().Find("a"); return ok && !m.Serving(1) }, "b hears that a serves nothing")
	if m, _ := b.View().Find("a"); len(m.Follows) > 0 || len(m.Halted) != 1 {
		t.Errorf("a says %+v", m)
	}
	if n := a.View().Lapses; n != 1 {
		t.Errorf("%d lapses", n)
	}
	a.renewOnce(t.Context(), a.bucket(), a.ttl())
	if n := a.View().Lapses; n != 1 {
		t.Errorf("%d lapses after a renewal in time", n)
	}
}

// A bucket that was lost and made again counts from the beginning. Members find each other in it nevertheless.
func TestBucketBegunAnew(t *testing.T) {
	r := newRig(t)
	b := r.broker(r.srv.URL())
	for range 2000 {
		msg := nats.NewMsg("$KV." + broker.BucketMembers + ".nobody")
		msg.Header.Set("KV-Operation", "DEL")
		if _, err := b.JS.PublishMsgAsync(msg); err != nil {
			t.Fatal(err)
		}
	}
	<-b.JS.PublishAsyncComplete()
	one, two := r.join("a", "one", nil), r.join("b", "two", nil)
	meet := func(who ...*joined) {
		t.Helper()
		natstest.Eventually(t, func() bool {
			for _, m := range who {
				if len(m.View().Members) != len(who) {
					return false
				}
			}
			return true
		}, "%d members know each other", len(who))
	}
	meet(one, two)
	if err := b.JS.DeleteStream(t.Context(), "KV_"+broker.BucketMembers); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool { return !one.Reachable() && !two.Reachable() }, "both see that it is gone")
	r.broker(r.srv.URL())
	meet(one, two, r.join("c", "three", nil))
}
