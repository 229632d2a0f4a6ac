package membership

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Pauses between attempts to open or to watch the bucket, doubling.
const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// keepRenewing puts the own key at every third of the TTL, when there is something to say, and after a reconnect.
func (m *Membership) keepRenewing(ctx context.Context, bucket jetstream.KeyValue) {
	reconnected := m.deps.Broker.Conn.StatusChanged(nats.CONNECTED)
	defer m.deps.Broker.Conn.RemoveStatusListener(reconnected)
	every := renewEvery(m.ttl())
	for due := m.deps.Now(); ctx.Err() == nil; {
		m.renewOnce(ctx, bucket, every)
		due = due.Add(every)
		if now := m.deps.Now(); due.Before(now) { // late: the next one is not due twice
			due = now
		}
		timer := time.NewTimer(max(due.Sub(m.deps.Now()), minPause))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-m.renew:
			due = m.deps.Now()
		case <-reconnected:
			due = m.deps.Now()
		}
		timer.Stop()
	}
}

func (m *Membership) ttl() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.roster.ttl
}

func (m *Membership) renewOnce(ctx context.Context, bucket jetstream.KeyValue, patience time.Duration) {
	m.mu.Lock()
	lapsed := m.lapse()
	self := m.self.clone()
	before := m.roster.revision
	missed := m.roster.listed && m.roster.revision < m.stored && m.deps.Now().Sub(m.putAt) > patience/2
	m.mu.Unlock()
	if lapsed {
		m.deps.Logger.Warn("member lapsed: its key was not renewed for the time after which others take over", "member", self.ID)
		m.tell()
	}
	if missed { // the watch should have shown the last renewal by now
		poke(m.relist)
	}
	put, cancel := context.WithTimeout(ctx, min(patience, m.cfg.Timeout))
	defer cancel()
	revision, err := bucket.Put(put, self.ID, self.encode())
	switch {
	case err == nil:
		m.begunAnew(before, revision)
		m.renewed(revision)
	case ctx.Err() == nil:
		m.metrics.failures.Inc()
		m.failed(fmt.Errorf("put own key: %w", err))
	}
}

// lapse finds out that the worker was frozen or cut off for so long that others have taken over. It does not claim any more to serve what it
// had, not even in the renewal that brings it back, or they would let go of that at once. The lock is held.
func (m *Membership) lapse() bool {
	if m.lapsed || m.stored == 0 || m.deps.Now().Sub(m.putAt) <= m.roster.ttl {
		return false
	}
	m.lapsed = true
	m.lapses++
	m.self.Serves, m.self.Follows = nil, nil
	return true
}

// renewed notes a renewal; the first one completes the view.
func (m *Membership) renewed(revision uint64) {
	m.mu.Lock()
	first := m.stored == 0
	m.stored, m.putAt, m.lapsed, m.fault = revision, m.deps.Now(), false, nil
	m.mu.Unlock()
	m.unrenewed.Over(m.deps.Logger, "member is renewed again", "member", m.cfg.Self.ID)
	if first {
		m.tell()
	}
}

// begunAnew finds out that the bucket is another one: a renewal got a revision that was seen before it. What comes from it would be taken for old, for as long as
// it takes to count up again, so that every worker would think that it is alone.
func (m *Membership) begunAnew(before, revision uint64) {
	if revision > before {
		return
	}
	m.mu.Lock()
	gone := m.roster.gone
	m.roster = newRoster(m.roster.ttl)
	m.roster.gone = gone
	m.mu.Unlock()
	m.deps.Logger.Warn("bucket of the members was begun anew: listing it again", "bucket", broker.BucketMembers, "revision", revision, "seen", before)
	poke(m.relist)
}

// failed shows why the key is not renewed.
func (m *Membership) failed(err error) {
	m.mu.Lock()
	m.fault = err
	m.mu.Unlock()
	m.unrenewed.Again(m.deps.Logger, slog.LevelWarn, "member is not renewed", "member", m.cfg.Self.ID, "cause", err)
}

// Reachable says whether the last renewal succeeded, so that others will hear what this worker says.
func (m *Membership) Reachable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault == nil
}

func rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
