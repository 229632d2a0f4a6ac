package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
)

// Shape of the load.
const (
	callers     = 12
	usersEach   = 6 // of a caller; the last one is a ghost
	thinkMax    = 40 * time.Millisecond
	waitMax     = 2 * time.Second // of a delayed redirect that is to fire
	followTime  = 3 * time.Second // for the outcome of a trigger with a receipt; after that it is the audit's
	receiptWait = "?wait=1s"
)

// Load is callers that retry, each with users of its own, and all that they did and heard.
type Load struct {
	f        *Fleet
	seed     uint64
	callers  []*caller
	accepted atomic.Int64
	refused  atomic.Int64
	unknown  atomic.Int64
	stop     chan struct{}
	stopped  sync.Once
	running  sync.WaitGroup
}

// caller sends one trigger at a time.
type caller struct {
	load   *Load
	client *client
	rng    *rand.Rand
	users  []*User
}

// StartLoad registers the users and begins to send. It ends with Stop or ctx.
func (f *Fleet) StartLoad(ctx context.Context, seed uint64) (*Load, error) {
	l := &Load{f: f, seed: seed, stop: make(chan struct{})}
	c := newClient(f.addrs(), f.token)
	if err := declare(ctx, c); err != nil {
		return nil, err
	}
	for i := range callers {
		k := &caller{load: l, client: newClient(f.addrs(), f.token), rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		for n := range usersEach {
			u := &User{Name: fmt.Sprintf("user-%d-%d", i, n), Ghost: n == usersEach-1}
			u.Partition = broker.Partition(tenant, u.Name, f.cfg.Partitions)
			k.users = append(k.users, u)
			if u.Ghost {
				continue
			}
			if err := register(ctx, c, u.Name); err != nil {
				return nil, err
			}
		}
		l.callers = append(l.callers, k)
	}
	f.accepts.begin()
	for _, k := range l.callers {
		l.running.Go(func() { k.run(ctx) })
	}
	return l, nil
}

// declare makes the modules known.
func declare(ctx context.Context, c *client) error {
	_, err := c.until(ctx, http.MethodPut, "/v1/bots/bot/modules", `{"modules":[{"id":7,"name":"Seven"},{"id":8,"name":"Eight"},{"id":9,"name":"Nine"}]}`, http.StatusOK)
	return err
}

// conversation is how one begins.
const conversation = `{"bot_id":"bot","module_id":7}`

// register opens a conversation, once: nobody hurts anything yet, so an answer other than 200 is an error.
func register(ctx context.Context, c *client, user string) error {
	a := c.call(ctx, http.MethodPut, "/v1/users/"+user, conversation)
	if a.err != nil || a.status != http.StatusOK && a.status != http.StatusAccepted {
		return fmt.Errorf("register %s: %d %s: %w", user, a.status, a.body, a.err)
	}
	return nil
}

// Stop ends the load and returns when every caller knows what became of its last trigger, or that nobody can tell.
func (l *Load) Stop() {
	l.stopped.Do(func() { close(l.stop) })
	l.running.Wait()
}

// Users are all that the load was about. Call it after Stop.
func (l *Load) Users() (all []*User) {
	for _, k := range l.callers {
		all = append(all, k.users...)
	}
	return all
}

// Summary is the load in a line.
func (l *Load) Summary() string {
	return fmt.Sprintf("accepted=%d refused=%d unknown=%d", l.accepted.Load(), l.refused.Load(), l.unknown.Load())
}

func (k *caller) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-k.load.stop:
			return
		case <-time.After(time.Duration(k.rng.Int64N(int64(thinkMax)))):
		}
		u := k.users[k.rng.IntN(len(k.users))]
		for !k.trigger(ctx, u) { // try again, elsewhere
			if !k.load.waits(ctx) {
				return
			}
		}
	}
}

// waits a little before something is sent again; false if the load is over.
func (l *Load) waits(ctx context.Context) bool {
	select {
	case <-l.stop:
		return false
	case <-ctx.Done():
		return false
	case <-time.After(retryPause):
		return true
	}
}

// draw is the next attempt for a user.
func (k *caller) draw(u *User) Attempt {
	at := Attempt{N: len(u.Attempts) + 1, Module: int64(firstModule + k.rng.IntN(3)), Redirect: k.rng.IntN(4) > 0, Keyed: k.rng.IntN(2) == 0 && !u.Ghost}
	switch {
	case at.N == 1:
		at.Redirect, at.Wait = true, far
	case at.Redirect && k.rng.IntN(3) == 0:
		at.Wait = time.Duration(1+k.rng.Int64N(waitMax.Milliseconds())) * time.Millisecond
	}
	return at
}

// trigger makes one attempt; false if it was refused, or nobody knows.
func (k *caller) trigger(ctx context.Context, u *User) bool {
	u.Attempts = append(u.Attempts, k.draw(u))
	at := &u.Attempts[len(u.Attempts)-1]
	body := fmt.Sprintf(`{"user_id":%q,"module_id":%d,"is_async":%t,"wait_time":%.3f,"custom_vars":{"n":%d}}`, u.Name, at.Module, at.Redirect, at.Wait.Seconds(), at.N)
	key := ""
	if at.Keyed {
		key = fmt.Sprintf("number-%d", at.N)
	}
	at.Sent = time.Now()
	for again := true; again; {
		a := k.client.keyed(ctx, key, http.MethodPost, "/actionsvc/trigger-response/", body)
		at.Answered = time.Now()
		k.note(u, at, a)
		again = at.Keyed && at.Result == Unknown && k.load.waits(ctx)
	}
	if at.Receipt != "" && !at.Keyed {
		k.follow(ctx, at)
	}
	if at.Result == Accepted {
		k.load.accepted.Add(1)
		k.load.f.accepts.mark(u.Partition)
	}
	return at.Result == Accepted || u.Ghost
}

// note writes down what was heard.
func (k *caller) note(u *User, at *Attempt, a answer) {
	var reply struct {
		ID      string `json:"trigger_id"`
		Code    string `json:"code"`
		Receipt string `json:"receipt"`
	}
	err := a.into(&reply)
	switch {
	case err == nil && a.status == http.StatusOK:
		at.Result, at.ID, at.Settled = Accepted, reply.ID, true
	case at.maybe && (a.unsent() || err == nil && reply.Code == "unavailable"): // this time nothing was stored, and before?
	case a.unsent(), err == nil && reply.Code == "unavailable", err == nil && u.Ghost && reply.Code == "unknown_user":
		at.Result, at.Settled = Refused, true
		k.load.refused.Add(1)
	case err == nil && reply.Code == "unknown_outcome":
		at.Receipt, at.maybe = reply.Receipt, true
		k.load.unknown.Add(1)
	case a.err != nil:
		at.maybe = true
		k.load.unknown.Add(1)
	default:
		k.load.f.fault("trigger for %s: %d %s", u.Name, a.status, a.body)
	}
}

// follow asks for a while what became of a trigger with a receipt.
func (k *caller) follow(ctx context.Context, at *Attempt) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	for ctx.Err() == nil {
		if id, ok := k.client.outcome(ctx, at.Receipt); ok {
			at.Result, at.ID, at.Settled, at.Answered = Accepted, id, true, time.Now()
			return
		}
		pause(ctx, retryPause)
	}
}

// outcome asks once which trigger a receipt led to.
func (c *client) outcome(ctx context.Context, receipt string) (id string, found bool) {
	a := c.call(ctx, http.MethodGet, "/v1/triggers/"+receipt+receiptWait, "")
	var o struct {
		ID string `json:"trigger_id"`
	}
	if a.err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &o) != nil {
		return "", false
	}
	return o.ID, o.ID != ""
}
