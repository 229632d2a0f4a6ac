package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// stopPatience is how long a watch that was stopped is waited for. It ends at once, unless the connection was closed in the very moment
// in which it was set up.
const stopPatience = 5 * time.Second

// keepWatching watches until ctx ends. Each watch begins with a list of the bucket, so listing again is nothing but a new watch.
func (m *Membership) keepWatching(ctx context.Context) {
	reconnected := m.deps.Broker.Conn.StatusChanged(nats.CONNECTED)
	defer m.deps.Broker.Conn.RemoveStatusListener(reconnected)
	for pause := minPause; ctx.Err() == nil; {
		listed, err := m.watchOnce(ctx, reconnected)
		if listed {
			pause = minPause
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		m.deps.Logger.Warn("watch of members ended, beginning again", "cause", err)
		rest(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// watchOnce lists and watches until it is time to list again (nil). listed: the list was completed.
func (m *Membership) watchOnce(ctx context.Context, reconnected <-chan nats.Status) (listed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// With a deadline of ctx the watch would end then; without one a lost answer would be awaited for ever.
	setup := time.AfterFunc(m.cfg.Timeout, cancel)
	defer setup.Stop()
	bucket, err := m.deps.Broker.JS.KeyValue(ctx, broker.BucketMembers)
	if err != nil {
		return false, fmt.Errorf("open bucket %s: %w", broker.BucketMembers, err)
	}
	w, err := bucket.WatchAll(ctx)
	if err != nil {
		return false, fmt.Errorf("watch bucket %s: %w", broker.BucketMembers, err)
	}
	defer drain(w)
	relist := time.NewTimer(m.cfg.RelistEvery)
	defer relist.Stop()
	for {
		select {
		case entry, ok := <-w.Updates():
			if !ok {
				return listed, errors.New("watch was closed")
			}
			if entry != nil {
				m.take(entry)
				continue
			}
			listed = true
			setup.Stop()
			m.complete(ctx, bucket)
		case <-relist.C:
			return listed, nil
		case <-m.relist:
			return listed, nil
		case <-reconnected:
			return listed, nil
		case <-ctx.Done():
			return listed, fmt.Errorf("list bucket %s: %w", broker.BucketMembers, ctx.Err())
		}
	}
}

// drain stops the watch. Its goroutine may be blocked on handing out an update, so those are read until it has ended.
func drain(w jetstream.KeyWatcher) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range w.Updates() {
		}
	}()
	_ = w.Stop() // fails only if the watch, or its connection, has ended already
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// take feeds the roster. What cannot be read is left out, by everybody of this version.
func (m *Membership) take(e jetstream.KeyValueEntry) {
	msg := message{id: e.Key(), revision: e.Revision(), created: e.Created()}
	if e.Operation() == jetstream.KeyValuePut {
		msg.data = append([]byte{}, e.Value()...)
	}
	m.mu.Lock()
	meaning, err := m.roster.take(msg, m.deps.Now())
	m.mu.Unlock()
	if err != nil {
		m.deps.Logger.Warn("member cannot be read", "member", msg.id, "cause", err)
	}
	m.turn(msg.id, meaning)
}

// turn notes that a member's key means something new.
func (m *Membership) turn(id, meaning string) {
	if meaning == nothing || id == m.ID() { // of itself the worker knows more than its echo
		return
	}
	if meaning != said {
		m.mu.Lock()
		if m.known() {
			m.cause = meaning
		}
		m.mu.Unlock()
		m.deps.Logger.Info("members changed", "member", id, "cause", meaning)
	}
	m.tell()
}

// complete ends a list. The first one may show keys that a killed process left in the own home: nobody is to count on them.
func (m *Membership) complete(ctx context.Context, bucket jetstream.KeyValue) {
	m.mu.Lock()
	first := !m.roster.listed
	m.roster.listed = true
	ghosts := m.roster.ghosts(m.self)
	m.mu.Unlock()
	if !first {
		if len(ghosts) > 0 {
			m.deps.Logger.Warn("another worker has this one's home: was its directory copied?", "member", ghosts[0])
		}
		return
	}
	m.tell()
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	for _, id := range ghosts {
		if err := bucket.Delete(ctx, id); err != nil {
			m.deps.Logger.Warn("former member was not deleted", "member", id, "cause", err) // it expires
		}
	}
}

// keepExpiring removes who is not heard of any more.
func (m *Membership) keepExpiring(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		gone, next := m.roster.expire(m.deps.Now()), m.roster.next(m.deps.Now())
		m.mu.Unlock()
		for _, e := range gone {
			m.turn(e.ID, causeExpired)
		}
		rest(ctx, next)
	}
}
