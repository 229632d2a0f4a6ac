package membership

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// keepWatching watches until ctx ends.
func (m *Membership) keepWatching(ctx context.Context) {
	var trouble telemetry.Trouble
	m.deps.Broker.KeepWatching(ctx, broker.Watch{Bucket: broker.BucketMembers, RelistEvery: m.cfg.RelistEvery, Timeout: m.cfg.Timeout, Relist: m.relist,
		Take: func(e jetstream.KeyValueEntry, _ bool) { m.take(e) },
		Listed: func(ctx context.Context) {
			trouble.Over(m.deps.Logger, "watch of members goes on")
			m.complete(ctx)
		},
		Failed: func(err error) {
			trouble.Again(m.deps.Logger, slog.LevelWarn, "watch of members ended, beginning again", "cause", err)
		}})
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
func (m *Membership) complete(ctx context.Context) {
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
	for _, id := range ghosts {
		if err := m.delete(ctx, id); err != nil {
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
