package membership

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// roster is what the bucket says, and a clock that only its messages drive. It does no I/O and reads no clock: now is the caller's. Not safe for
// concurrent use.
type roster struct {
	ttl  time.Duration // of the bucket
	step time.Duration // the most that passes between two messages, and after the last one

	entries  map[string]*entry
	revision uint64        // of the newest message
	created  time.Time     // when the server stored that
	received time.Time     // when it came, by the local clock
	clock    time.Duration // what has passed from the first message up to it
	listed   bool          // the bucket was listed once

	gone map[string]time.Time // when members that are gone were last heard of, by the local clock; those of the last hour
}

// entry is one key.
type entry struct {
	Member
	data  []byte
	seen  time.Duration // on the roster's clock
	heard time.Time     // by the local clock
}

func newRoster(ttl time.Duration) *roster {
	every := renewEvery(ttl)
	return &roster{ttl: ttl, step: every + every/4, entries: make(map[string]*entry), gone: make(map[string]time.Time)}
}

// renewEvery leaves room for two renewals to be lost.
func renewEvery(ttl time.Duration) time.Duration { return ttl / 3 }

// message is one message of the bucket. No data: the key was deleted.
type message struct {
	id       string
	data     []byte
	revision uint64
	created  time.Time // by the server's clock
}

// What a message, or silence, may mean.
const (
	nothing      = ""
	causeJoined  = "joined"
	causeLeft    = "left"
	causeLeaving = "leaving"
	causeHalted  = "halted"
	causeExpired = "expired"
	said         = "said" // something that changes no assignment
)

// take applies a message, unless it is an old one, and says what it means.
func (r *roster) take(msg message, now time.Time) (meaning string, err error) {
	if msg.revision <= r.revision {
		return nothing, nil
	}
	r.advance(msg, now)
	old := r.entries[msg.id]
	switch {
	case msg.data == nil && old == nil:
		return nothing, nil
	case msg.data == nil:
		if old.Leaving { // it worked until now
			old.heard = now
		}
		r.forget(old, now)
		return causeLeft, nil
	case old != nil && bytes.Equal(old.data, msg.data):
		old.seen, old.heard = r.clock, now
		return nothing, nil
	}
	m, err := decode(msg.id, msg.data)
	if err != nil {
		return nothing, err
	}
	r.entries[msg.id] = &entry{Member: m, data: bytes.Clone(msg.data), seen: r.clock, heard: now}
	return compare(old, m), nil
}

// compare says what it means that a member says something new.
func compare(old *entry, m Member) string {
	switch {
	case old == nil:
		return causeJoined
	case m.Leaving && !old.Leaving:
		return causeLeaving
	case !slices.Equal(m.Halted, old.Halted):
		return causeHalted
	}
	return said
}

// advance moves the clock. In the first list the server's time counts in full; later no more than one step, because if nothing came for
// longer, nobody could renew, or the server's clock was set.
func (r *roster) advance(msg message, now time.Time) {
	if r.revision != 0 {
		passed := max(msg.created.Sub(r.created), 0)
		if r.listed {
			passed = min(passed, r.step)
		}
		r.clock += passed
	}
	r.revision, r.created, r.received = msg.revision, msg.created, now
}

// now is the roster's clock at a moment of the local clock.
func (r *roster) now(local time.Time) time.Duration {
	return r.clock + min(max(local.Sub(r.received), 0), r.step)
}

// expire removes who has not been heard of for longer than the TTL.
func (r *roster) expire(local time.Time) (gone []Member) {
	now := r.now(local)
	for _, e := range r.entries {
		if now-e.seen > r.ttl {
			gone = append(gone, e.Member)
			r.forget(e, local)
		}
	}
	return gone
}

// keepGone is for how long it is known when somebody was last heard of.
const keepGone = time.Hour

// forget removes a member.
func (r *roster) forget(e *entry, local time.Time) {
	delete(r.entries, e.ID)
	for id, at := range r.gone {
		if local.Sub(at) > keepGone {
			delete(r.gone, id)
		}
	}
	r.gone[e.ID] = e.heard
}

// next is when to look for expired ones again: when the next one is due, but soon, because a message may move the clock.
func (r *roster) next(local time.Time) time.Duration {
	now, next := r.now(local), r.ttl/24
	for _, e := range r.entries {
		next = min(next, e.seen+r.ttl-now)
	}
	return max(next+time.Millisecond, time.Millisecond)
}

// members is who lives, by ID: of each home the one that was started last. self is among them, whatever the bucket says, in its own words.
func (r *roster) members(self Member) []Member {
	latest := map[string]*entry{}
	for _, e := range r.entries {
		if had := latest[e.Home]; e.Home != self.Home && (had == nil || had.before(e)) {
			latest[e.Home] = e
		}
	}
	list := []Member{self.clone()}
	for _, e := range latest {
		list = append(list, e.Member.clone())
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// before compares two members of one home.
func (e *entry) before(other *entry) bool {
	return cmp.Or(e.Started.Compare(other.Started), cmp.Compare(e.ID, other.ID)) < 0
}

// ghosts are the keys that former processes left in self's home.
func (r *roster) ghosts(self Member) (ids []string) {
	for id, e := range r.entries {
		if e.Home == self.Home && id != self.ID {
			ids = append(ids, id)
		}
	}
	return ids
}
