package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

func TestSilenceTripsTheBreakerAndAProbeMendsIt(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		first := ask(t.Context(), a, "first")
		o.next()
		others := askMany(t, a, "u", 100)
		for _, c := range append(others, first) {
			c.want(t, Unverified)
			if took := c.ended.Sub(c.started); took != DefaultTimeout {
				t.Errorf("caller waited %v", took)
			}
		}
		tripped := time.Now()

		for time.Since(tripped) < DefaultBreaker {
			c := ask(t.Context(), a, "later")
			c.want(t, Unverified)
			if c.ended != c.started {
				t.Error("caller waited while the breaker was open")
			}
			o.notAsked()
			pass(DefaultBreaker / 8)
		}

		pass(time.Millisecond)
		probe := ask(t.Context(), a, "probe")
		q := o.next()
		ask(t.Context(), a, "beside the probe").want(t, Unverified)
		o.notAsked()
		q.knows("probe")
		probe.want(t, Known)

		caller := ask(t.Context(), a, "alice")
		o.next().knows("alice")
		caller.want(t, Known)
	})
}

func TestFailedProbeOpensTheBreakerAgain(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		for range 3 {
			probe := ask(t.Context(), a, "alice")
			o.next().fails(statequery.ErrSilent)
			probe.want(t, Unverified)
			pass(DefaultBreaker - 1)
			ask(t.Context(), a, "alice").want(t, Unverified)
			o.notAsked()
			pass(1)
		}
	})
}

func TestAbsentOwnerTripsAtOnceAndOnlyItsPartition(t *testing.T) {
	for name, failure := range map[string]answer{
		"nobody there":  {err: statequery.ErrSilent},
		"overloaded":    {err: statequery.ErrOverloaded},
		"malformed":     {err: statequery.ErrMalformed},
		"wrong count":   {reply: statequery.Reply{Known: []bool{true, true}}},
		"strange error": {err: errors.New("strange")},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
				caller := ask(t.Context(), a, "alice")
				o.next().answer <- failure
				caller.want(t, Unverified)
				if caller.ended != caller.started {
					t.Error("caller waited for an owner that had refused")
				}
				ask(t.Context(), a, "alice").want(t, Unverified)
				o.notAsked()
				go a.User(t.Context(), 0, "demo", "bob")
				o.next().knows("bob")
			})
		})
	}
}

func TestLateAnswerFeedsTheCache(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		caller := ask(t.Context(), a, "alice")
		q := o.next()
		caller.want(t, Unverified)
		pass(DefaultBreaker / 2)
		q.knows("alice")
		synctest.Wait()
		ask(t.Context(), a, "alice").want(t, Known)
		ask(t.Context(), a, "bob").want(t, Unverified) // the breaker is none the wiser
		o.notAsked()
	})
}

// A question that was given up may still be in flight when another one, of the patient kind, is answered in time. That must not open the way for
// questions that would only queue behind the first.
func TestAnswerToAnotherQuestionDoesNotMendTheBreaker(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		stranger := ask(t.Context(), a, "stranger")
		o.next().knows()
		patient := o.next()
		pass(DefaultTimeout / 2)
		trips := ask(t.Context(), a, "alice")
		o.next().fails(statequery.ErrSilent)
		trips.want(t, Unverified)
		patient.knows()
		stranger.want(t, Unknown)
		ask(t.Context(), a, "bob").want(t, Unverified)
		o.notAsked()
	})
}

// A connection may be slow to give up. As long as it has not, a probe would only queue behind the question that tripped the breaker, and share its fate.
func TestProbeWaitsUntilTheLateQuestionHasEnded(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		o.slowToGiveUp = 10 * time.Millisecond
		caller := ask(t.Context(), a, "alice")
		o.next()
		caller.want(t, Unverified)
		pass(DefaultBreaker + 5*time.Millisecond)
		ask(t.Context(), a, "bob").want(t, Unverified)
		o.notAsked()
		pass(6 * time.Millisecond)
		probe := ask(t.Context(), a, "alice")
		o.next().knows("alice")
		probe.want(t, Known)
	})
}

func TestPatientQuestionGetsOnlyTheTimeThatIsLeft(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		caller := ask(t.Context(), a, "stranger")
		q := o.next()
		pass(DefaultTimeout * 9 / 10)
		q.knows()
		o.next() // and never an answer
		caller.want(t, Unverified)
		if took := caller.ended.Sub(caller.started); took != DefaultTimeout {
			t.Errorf("caller waited %v", took)
		}
	})
}

// Whatever the owner does, nobody waits longer than the timeout: neither behind slow requests, nor for a patient one.
func TestNobodyWaitsLongerThanTheTimeout(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bubble(t, Config{MaxChecks: 20}, func(t *testing.T, a *Admission, o *owner) {
		rng := rand.New(rand.NewPCG(seed, 0))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			slow := rand.New(rand.NewPCG(seed, 1))
			for ctx.Err() == nil {
				select {
				case q := <-o.asked:
					delay := time.Duration(slow.IntN(130)) * time.Millisecond
					wg.Go(func() { pass(delay); q.knows("u0", "u2", "u4", "u6", "u8") })
				case <-ctx.Done():
				}
			}
		})
		var all []*asking
		for range 3000 {
			all = append(all, ask(t.Context(), a, fmt.Sprint("u", rng.IntN(50))))
			pass(time.Duration(rng.IntN(5)) * time.Millisecond)
		}
		for _, c := range all {
			<-c.verdict
			if took := c.ended.Sub(c.started); took > DefaultTimeout {
				t.Errorf("caller waited %v", took)
			}
		}
		cancel()
		wg.Wait()
	})
}
