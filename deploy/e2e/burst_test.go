package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
)

// burst is a load whose every answer is remembered, so that the audit can hold events and state against them.
type burst struct {
	f        *fleet
	senders  []*sender
	accepted atomic.Int64
	refused  atomic.Int64
	stop     chan struct{}
	running  sync.WaitGroup
}

// sender sends for its own users, one trigger at a time, by way of one ingress: so the order of a user's triggers is certain.
type sender struct {
	b        *burst
	to       *member
	users    []string
	sent     map[string]int    // triggers of a user that may have been stored
	promised map[string]string // accepted ids, with what they belong to
	receipts map[string]string // of those that nobody answered for
}

const (
	burstSenders = 8
	usersEach    = 4
	refusedPause = 10 * time.Millisecond
)

// startBurst registers users and sends triggers for them until end is called.
func (f *fleet) startBurst(ingresses ...*member) *burst {
	f.t.Helper()
	b := &burst{f: f, stop: make(chan struct{})}
	for i := range burstSenders {
		s := &sender{b: b, to: ingresses[i%len(ingresses)], sent: map[string]int{}, promised: map[string]string{}, receipts: map[string]string{}}
		for n := range usersEach {
			s.users = append(s.users, fmt.Sprintf("burst-%d-%d", i, n))
		}
		f.register(s.to, s.users...)
		b.senders = append(b.senders, s)
	}
	for _, s := range b.senders {
		b.running.Go(s.loop)
	}
	f.t.Cleanup(b.running.Wait)
	return b
}

// more waits until that many more triggers have been accepted.
func (b *burst) more(n int64) {
	b.f.t.Helper()
	goal := b.accepted.Load() + n
	natstest.Eventually(b.f.t, func() bool { return b.accepted.Load() >= goal }, "%d more triggers to be accepted", n)
}

// refusals waits until that many more triggers have been refused.
func (b *burst) refusals(n int64) {
	b.f.t.Helper()
	goal := b.refused.Load() + n
	natstest.Eventually(b.f.t, func() bool { return b.refused.Load() >= goal }, "%d more triggers to be refused", n)
}

// end stops sending; what is under way is answered.
func (b *burst) end() {
	close(b.stop)
	b.running.Wait()
}

func (s *sender) loop() {
	for i := 0; ; i++ {
		select {
		case <-s.b.stop:
			return
		case <-s.b.f.t.Context().Done(): // the test has failed
			return
		default:
		}
		if user := s.users[i%len(s.users)]; !s.send(user, s.sent[user]+1) {
			select {
			case <-s.b.stop:
			case <-time.After(refusedPause):
			}
		}
	}
}

// send sends a user's trigger number n and notes the answer; false if it was refused.
func (s *sender) send(user string, n int) bool {
	r := s.b.f.trigger(s.to, user, fmt.Sprintf(`"module_id":8,"is_async":true,"custom_vars":{"n":%d}`, n))
	what := fmt.Sprintf("%s %d", user, n)
	switch {
	case !r.refused():
		s.promised[r.ID] = what
		s.sent[user] = n
		s.b.accepted.Add(1)
		return true
	case r.Receipt != "":
		s.receipts[r.Receipt] = what
		s.sent[user] = n
	}
	s.b.refused.Add(1)
	return false
}

// audit holds everything against what was promised: every accepted trigger, and every one with a receipt, was applied once and in its user's
// order, has one event, and nothing else has. It returns how many triggers had a receipt.
func (b *burst) audit(ask *member) (receipts int) {
	f := b.f
	f.t.Helper()
	want := map[string]string{}
	for _, s := range b.senders {
		for id, what := range s.promised {
			want[id] = what
		}
		for receipt, what := range s.receipts {
			want[f.want(ask, receipt, "redirected").TriggerID] = what
		}
		receipts += len(s.receipts)
	}
	last := b.auditEvents(want)
	for _, s := range b.senders {
		for _, user := range s.users {
			u, sent := f.user(ask, user), s.sent[user]
			if u.Version != uint64(1+sent) || sent > 0 && (string(u.Vars["n"]) != strconv.Itoa(sent) || u.Module != eight) {
				f.t.Errorf("%s was sent %d triggers, its state is %+v", user, sent, u)
			}
			if sent > 0 && u.Changes[len(u.Changes)-1].TriggerID != last[user] {
				f.t.Errorf("last event of %s is %s, its changes are %+v", user, last[user], u.Changes)
			}
		}
	}
	return receipts
}

// auditEvents compares the events about the burst's users with the triggers wanted, by id. It returns each user's last one.
func (b *burst) auditEvents(want map[string]string) (last map[string]string) {
	f := b.f
	f.t.Helper()
	var found []event
	natstest.Eventually(f.t, func() bool {
		found = nil
		for _, e := range f.events() {
			if strings.HasPrefix(e.Subject, "burst-") {
				found = append(found, e)
			}
		}
		return len(found) >= len(want)
	}, "an event for each of %d triggers", len(want))
	last, count := map[string]string{}, map[string]int{}
	for _, e := range found {
		count[e.Subject]++
		last[e.Subject] = e.ID
		what := fmt.Sprintf("%s %s", e.Subject, e.Data.Variables["n"])
		if want[e.ID] != what || e.Type != redirected {
			f.t.Errorf("%s is about %s, promised was %q", e.brief(), what, want[e.ID])
		}
		if n := count[e.Subject]; string(e.Data.Variables["n"]) != strconv.Itoa(n) || e.Data.Version != uint64(1+n) {
			f.t.Errorf("event %d about %s has number %s and version %d", n, e.Subject, e.Data.Variables["n"], e.Data.Version)
		}
	}
	if len(found) != len(want) {
		f.t.Errorf("%d events for %d triggers", len(found), len(want))
	}
	return last
}
