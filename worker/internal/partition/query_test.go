package partition

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

func (r *rig) ask(req statequery.Request) (statequery.Reply, error) {
	return statequery.NewClient(r.broker.Conn).Ask(r.ctx(), 0, req)
}

func (x *run) serving() *run {
	x.t.Helper()
	natstest.Eventually(x.t, func() bool { return x.State() == Serving }, "partition serves")
	return x
}

func TestQuestions(t *testing.T) {
	r := newRig(t)
	r.append(users(2)...)
	seq := r.append(trigger("user-0", 1, 0), trigger("user-0", 2, 3_600_000), trigger("nobody", 3, 0))
	x := r.start(r.file()).serving()
	id := func(i uint32) string {
		return record.ID{Position: record.Position{Seq: seq, Index: i}}.String()
	}
	t.Run("user", func(t *testing.T) {
		reply, err := r.ask(statequery.Request{User: &statequery.User{Account: account, User: "user-0"}})
		if err != nil {
			t.Fatal(err)
		}
		u := reply.User
		if u == nil || u.BotID != "shop" || *u.ModuleID != 1068935 || string(u.Vars["n"]) != "2" || u.Version != 3 {
			t.Fatalf("user is %+v", u)
		}
		if len(u.Pending) != 1 || u.Pending[0].TriggerID != id(1) || len(u.Changes) != 3 || u.Changes[1].TriggerID != id(0) {
			t.Errorf("user is %+v", u)
		}
		if reply.Applied != seq {
			t.Errorf("applied is %d, want %d", reply.Applied, seq)
		}
	})
	t.Run("unknown user", func(t *testing.T) {
		reply, err := r.ask(statequery.Request{User: &statequery.User{Account: account, User: "nobody"}})
		if err != nil || reply.User != nil {
			t.Errorf("reply is %+v, %v", reply, err)
		}
	})
	t.Run("check", func(t *testing.T) {
		check := []statequery.Check{{Account: account, User: "user-1"}, {Account: account, User: "nobody"}, {Account: "other", User: "user-1"}}
		reply, err := r.ask(statequery.Request{Check: check, WaitMillis: 5000})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]bool{true, false, false}, reply.Known); d != "" {
			t.Error(d)
		}
		reply, err = r.ask(statequery.Request{Check: check})
		if !errors.Is(err, statequery.ErrBehind) || !reply.Known[0] {
			t.Errorf("check without time to wait: %+v, %v", reply, err)
		}
	})
	t.Run("outcome", func(t *testing.T) {
		for _, c := range []struct{ id, account, status, reason string }{
			{id(0), account, statequery.StatusRedirected, ""},
			{id(1), account, statequery.StatusScheduled, ""},
			{id(2), account, statequery.StatusRejected, "unknown_user"},
			{fmt.Sprintf("r-0-testwriter0000-%d-1", r.number), account, statequery.StatusScheduled, ""},
		} {
			reply, err := r.ask(statequery.Request{Outcome: &statequery.OutcomeOf{Account: c.account, ID: c.id}})
			if err != nil || reply.Outcome.Status != c.status || reply.Outcome.Reason != c.reason {
				t.Errorf("outcome of %s: %+v, %v", c.id, reply.Outcome, err)
			}
		}
	})
	t.Run("no outcome", func(t *testing.T) {
		for _, c := range []struct{ id, account string }{
			{id(0), "other"}, {id(9), account}, {"0-999999-0", account}, {"7-1-0", account}, {"nonsense", account},
			{"r-0-testwriter0000-99999-0", account}, {"0-1-0", account},
		} {
			_, err := r.ask(statequery.Request{Outcome: &statequery.OutcomeOf{Account: c.account, ID: c.id}})
			if !errors.Is(err, statequery.ErrNotFound) {
				t.Errorf("outcome of %s for %s: %v", c.id, c.account, err)
			}
		}
	})
	t.Run("position", func(t *testing.T) {
		if _, err := r.ask(statequery.Request{WaitSeq: seq}); err != nil {
			t.Error(err)
		}
		if _, err := r.ask(statequery.Request{WaitSeq: seq + 1000, WaitMillis: 20}); !errors.Is(err, statequery.ErrBehind) {
			t.Errorf("waited for what never comes: %v", err)
		}
	})
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ask(statequery.Request{WaitSeq: 1}); !errors.Is(err, statequery.ErrSilent) {
		t.Errorf("a drained partition answers: %v", err)
	}
}

// A negative is final: whoever registers a user and asks at once never hears that it does not exist, however far behind the owner is.
func TestNegativeIsFinal(t *testing.T) {
	r := newRig(t)
	r.start(r.file()).serving()
	var wg sync.WaitGroup
	for i := range 300 {
		user := fmt.Sprintf("new-%d", i)
		r.append(register(user))
		wg.Go(func() {
			reply, err := r.ask(statequery.Request{Check: []statequery.Check{{Account: account, User: user}}, WaitMillis: 10_000})
			if err != nil || !reply.Known[0] {
				t.Errorf("%s: %+v, %v", user, reply, err)
			}
		})
	}
	wg.Wait()
}

// A final outcome is waited for over the application and over the delay of the redirect.
func TestWaitForFinalOutcome(t *testing.T) {
	r := newRig(t)
	r.append(users(1)...)
	r.start(r.file()).serving()
	seq := r.append(trigger("user-0", 1, 300))
	id := record.ID{Position: record.Position{Seq: seq}}
	out, err := statequery.NewClient(r.broker.Conn).OutcomeAt(r.ctx(), account, id, 20*time.Second)
	if err != nil || out.Status != statequery.StatusRedirected {
		t.Errorf("outcome is %+v, %v", out, err)
	}
}

// What is in the log and not applied is accepted, for its own account alone. Applying is held up by events that are not acknowledged.
func TestAcceptedBeforeApplied(t *testing.T) {
	r := newRig(t)
	r.append(users(1)...)
	held := make(chan struct{})
	x := r.start(r.file(), func(c *Config, d *Deps) {
		c.UnackedEvents = 1
		d.Failpoint = func(step string) error {
			if step == StepEmitting {
				<-held
			}
			return nil
		}
	}).serving()
	t.Cleanup(sync.OnceFunc(func() { close(held) }))
	first := r.append(trigger("user-0", 1, 0))
	natstest.Eventually(t, func() bool { return x.Status().Applied == first }, "first trigger is applied")
	id := record.ID{Position: record.Position{Seq: r.append(trigger("user-0", 2, 0))}}.String()
	reply, err := r.ask(statequery.Request{Outcome: &statequery.OutcomeOf{Account: account, ID: id}})
	if err != nil || reply.Outcome.Status != statequery.StatusAccepted || reply.Outcome.UserID != "user-0" {
		t.Errorf("outcome is %+v, %v", reply.Outcome, err)
	}
	if _, err := r.ask(statequery.Request{Outcome: &statequery.OutcomeOf{Account: "other", ID: id}}); !errors.Is(err, statequery.ErrNotFound) {
		t.Errorf("another account's: %v", err)
	}
	natstest.Eventually(t, func() bool { s := x.Status(); return s.Lag == 1 && s.OldestSeconds > 0 }, "lag is shown while stuck")
}

// Too many waiting questions are refused, not collected.
func TestOverloaded(t *testing.T) {
	r := newRig(t)
	r.start(r.file(), func(c *Config, _ *Deps) { c.MaxWaiting = 1 }).serving()
	first := make(chan error, 1)
	go func() {
		err := statequery.ErrOverloaded
		for errors.Is(err, statequery.ErrOverloaded) { // until it is this one that waits
			_, err = r.ask(statequery.Request{WaitSeq: 1 << 40, WaitMillis: 2000})
		}
		first <- err
	}()
	natstest.Eventually(t, func() bool {
		_, err := r.ask(statequery.Request{WaitSeq: 1 << 40, WaitMillis: 1})
		return errors.Is(err, statequery.ErrOverloaded)
	}, "a second question is refused")
	if err := <-first; !errors.Is(err, statequery.ErrBehind) {
		t.Errorf("the first question: %v", err)
	}
}
