package admission

import (
	"testing"
	"testing/synctest"

	"github.com/triggerd/triggerd/shared/statequery"
)

// keyedCaller is somebody who waits for what is known of a key.
type keyedCaller struct {
	t       *testing.T
	verdict Verdict
	prior   Prior
	done    bool
}

func askKeyed(t *testing.T, a *Admission, user, key string) *keyedCaller {
	c := &keyedCaller{t: t}
	go func() {
		c.verdict, c.prior = a.Keyed(t.Context(), 1, "demo", user, key)
		c.done = true
	}()
	return c
}

func (c *keyedCaller) want(v Verdict, p Prior) {
	c.t.Helper()
	synctest.Wait()
	if !c.done || c.verdict != v || c.prior != p {
		c.t.Errorf("got %v %+v (answered: %v), want %v %+v", c.verdict, c.prior, c.done, v, p)
	}
}

// said answers a question about one key.
func (q question) said(known bool, key statequery.KnownKey, full bool, err error) {
	q.answer <- answer{statequery.Reply{Known: []bool{known}, Keys: []statequery.KnownKey{key}, KeysFull: full}, err}
}

var seen = statequery.KnownKey{TriggerID: "1-2-3", Print: "p"}

// A key is asked for every time, be its user in the cache or not, and patiently: an answer that denies it must be final.
func TestKeyIsAlwaysAskedFor(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		for range 2 {
			c := askKeyed(t, a, "alice", "k")
			q := o.next()
			if q.req.Check[0] != (statequery.Check{Account: "demo", User: "alice", Key: "k"}) || q.req.WaitMillis <= 0 {
				t.Errorf("asked for %+v", q.req)
			}
			q.said(true, statequery.KnownKey{}, false, nil)
			c.want(Known, Prior{Final: true})
		}
		ask(t.Context(), a, "alice").want(t, Known) // learned from the same answer
		o.notAsked()
	})
}

func TestWhatIsKnownOfAKey(t *testing.T) {
	for name, c := range map[string]struct {
		known   bool
		key     statequery.KnownKey
		full    bool
		err     error
		verdict Verdict
		prior   Prior
	}{
		"known":                      {true, seen, true, nil, Known, Prior{TriggerID: "1-2-3", Print: "p", Final: true}},
		"known, of a deleted user":   {false, seen, false, nil, Unknown, Prior{TriggerID: "1-2-3", Print: "p", Final: true}},
		"known, though behind":       {true, seen, false, statequery.ErrBehind, Known, Prior{TriggerID: "1-2-3", Print: "p", Final: true}},
		"new":                        {true, statequery.KnownKey{}, false, nil, Known, Prior{Final: true}},
		"new, and no room":           {true, statequery.KnownKey{}, true, nil, Known, Prior{NoRoom: true, Final: true}},
		"not known yet":              {true, statequery.KnownKey{}, false, statequery.ErrBehind, Known, Prior{}},
		"neither it nor its user":    {false, statequery.KnownKey{}, false, statequery.ErrBehind, Unverified, Prior{}},
		"new, of a user who is none": {false, statequery.KnownKey{}, false, nil, Unknown, Prior{Final: true}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
				caller := askKeyed(t, a, "alice", "k")
				o.next().said(c.known, c.key, c.full, c.err)
				caller.want(c.verdict, c.prior)
			})
		})
	}
}

// Nobody waits longer for a key than for a user, and who cannot be told is not held up: the machine judges.
func TestKeyOfASilentOwner(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		a.Learn("demo", "alice")
		alice, bob := askKeyed(t, a, "alice", "k"), askKeyed(t, a, "bob", "k")
		pass(DefaultTimeout)
		alice.want(Known, Prior{})
		bob.want(Unverified, Prior{})
		pass(DefaultBreaker + DefaultTimeout)
		for len(o.asked) > 0 {
			<-o.asked
		}
		// The breaker lets a question about a key through as a probe: there may be no others.
		probe := askKeyed(t, a, "alice", "k2")
		o.next().said(true, statequery.KnownKey{}, false, nil)
		probe.want(Known, Prior{Final: true})
	})
}

func TestKeyThatCannotBeAskedFor(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, a *Admission, o *owner) {
		askKeyed(t, a, "alice", "a b").want(Unverified, Prior{})
		o.notAsked()
	})
}
