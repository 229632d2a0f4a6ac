package partition

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
)

// in waits for a state.
func (x *run) in(want State) {
	x.t.Helper()
	natstest.Eventually(x.t, func() bool { return x.State() == want }, "partition is %s", want)
}

// burst appends triggers of a few users, some of them delayed.
func (r *rig) burst(n int) {
	r.t.Helper()
	for i := range n {
		r.append(trigger(fmt.Sprintf("user-%d", i%20), i, 0), trigger(fmt.Sprintf("user-%d", i%7), i, int64(i%5)))
	}
}

// A standby applies what its owner emits, and interferes with nothing; when it is to lead it goes on where the owner was.
func TestStandbyTakesOver(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	plug := make(chan struct{})
	owner := r.start(r.file(), func(_ *Config, d *Deps) {
		d.Failpoint = func(string) error {
			select {
			case <-plug:
				return fmt.Errorf("pulled the plug")
			default:
				return nil
			}
		}
	})
	standby := r.standby(r.file())
	r.burst(100)
	owner.reach(r.last())
	standby.reach(owner.Status().Applied)
	standby.in(Following)
	if n := testutil.ToFloat64(owner.deps.Metrics.conflicts.WithLabelValues("0")) + testutil.ToFloat64(standby.deps.Metrics.conflicts.WithLabelValues("0")); n > 0 {
		t.Errorf("%v conflicts: the standby emits", n)
	}
	if n := testutil.ToFloat64(standby.deps.Metrics.applied.WithLabelValues("0")); n > 0 {
		t.Errorf("the standby counts %v triggers a second time", n)
	}
	close(plug)
	r.burst(50)
	_ = owner.wait()
	if standby.Serving() {
		t.Error("it serves without having been told to")
	}
	standby.Lead()
	standby.in(Serving)
	r.sameAsUninterrupted(standby)
}

// Two partitions take turns, also both at once and none, in the middle of a burst: everything is emitted once, and both hold the same state.
func TestRolesChangeUnderLoad(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	small := func(c *Config, _ *Deps) { c.EventsMessage, c.EmitEvery = 2000, time.Millisecond }
	one, two := r.start(r.file(), small), r.standby(r.file(), small)
	var load sync.WaitGroup
	ended := make(chan struct{})
	load.Go(func() { defer close(ended); r.burst(400) })
	for turning := true; turning; {
		for _, x := range []*run{one, two} {
			if random.IntN(2) == 0 {
				x.Lead()
			} else {
				x.Follow()
			}
		}
		last := one.Status().Applied
		natstest.Eventually(t, func() bool {
			select {
			case <-ended:
				turning = false
			default:
			}
			return !turning || one.Status().Applied > last+5
		}, "the burst goes on")
	}
	load.Wait()
	one.Follow()
	two.Lead()
	two.in(Serving)
	one.in(Following)
	r.sameAsUninterrupted(two)
	one.reach(r.last())
	if one.digest() != two.digest() {
		t.Error("owner and standby differ in state")
	}
}

// While nobody emits, a standby stops applying before it holds more events than it may; it never emits them itself.
func TestStandbyIsBounded(t *testing.T) {
	const most = 50
	r := newRig(t)
	r.append(users(20)...)
	standby := r.standby(r.file(), func(c *Config, _ *Deps) { c.UnackedEvents = most })
	r.burst(200)
	natstest.Eventually(t, func() bool { return standby.Status().Events >= most }, "it is full")
	if s := standby.Status(); s.Events > 2*most || s.Emitted != 0 || len(r.emitted()) != 0 { // a message overshoots by what it derives
		t.Errorf("status is %+v", s)
	}
	standby.Lead()
	r.sameAsUninterrupted(standby)
}

// What the standby's checkpoint covers was emitted by its owner; draining makes one more.
func TestStandbyCheckpoints(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	owner, file := r.start(r.file()), r.file()
	standby := r.standby(file)
	r.burst(20)
	natstest.Eventually(t, func() bool { return standby.Status().CheckpointSeq == r.last() }, "a checkpoint without draining")
	r.burst(20)
	owner.reach(r.last())
	natstest.Eventually(t, func() bool { return standby.Status().Applied == r.last() }, "it has applied all")
	if err := standby.drain(); err != nil {
		t.Fatal(err)
	}
	if s := standby.Status(); s.CheckpointSeq != s.Applied {
		t.Errorf("after draining the status is %+v", s)
	}
	if err := owner.drain(); err != nil {
		t.Fatal(err)
	}
	r.sameAsUninterrupted(r.start(file))
}

// Whoever is told to lead asks first how far the log goes, however sure it was before: it may have been frozen.
func TestLeadingIsProvenFirst(t *testing.T) {
	r := newRig(t)
	px := r.srv.Proxy()
	far := r.connect(px.URL())
	r.append(users(1)...)
	x := r.start(r.file(), func(c *Config, d *Deps) { d.Broker, c.BrokerTimeout = far, 200*time.Millisecond })
	x.in(Serving)
	px.Hold()
	last := r.append(trigger("user-0", 1, 0))
	x.Lead()
	x.in(Following)
	for range 20 { // rounds in which it could make a mistake
		x.calls <- func(*actor) {}
	}
	if x.Serving() || x.Status().Applied >= last {
		t.Error("it serves without having heard of the end of the log")
	}
	px.Release()
	natstest.Eventually(t, x.Serving, "it serves again")
	if s := x.Status(); s.Applied < last {
		t.Errorf("it serves at %d of %d", s.Applied, last)
	}
}

// Owner and standby compare their states, whether the log moves or is silent. A difference is an alarm.
func TestDigestsAreCompared(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	often := func(c *Config, _ *Deps) { c.DigestEvery = 20 * time.Millisecond }
	owner, standby := r.start(r.file(), often), r.standby(r.file(), often)
	result := func(word string) float64 {
		return testutil.ToFloat64(standby.deps.Metrics.comparisons.WithLabelValues("0", word))
	}
	natstest.Eventually(t, func() bool { return result(digestsEqual) > 0 }, "a comparison while the log is silent")
	silent := result(digestsEqual)
	r.burst(100)
	natstest.Eventually(t, func() bool { return result(digestsEqual) > silent }, "a comparison after a burst")
	if n := result(digestsDifferent); n > 0 {
		t.Errorf("%v differences", n)
	}
	damaged := make(chan error)
	standby.calls <- func(a *actor) {
		user, err := a.store.User([]byte(account), []byte("user-3"))
		if err == nil {
			flipped := *user
			flipped.Version++
			a.store.PutUser([]byte(account), []byte("user-3"), &flipped)
		}
		damaged <- err
	}
	if err := <-damaged; err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool { return result(digestsDifferent) > 0 }, "the difference is found")
	if _, err := standby.Check(); err == nil {
		t.Error("readiness does not show the difference")
	}
	if _, err := owner.Check(); err != nil {
		t.Errorf("owner: %v", err)
	}
}
