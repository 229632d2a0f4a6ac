package revocation

import (
	"sync"
	"time"
)

// known is the set in memory.
type known struct {
	limit int

	mu      sync.RWMutex
	tokens  map[ID]mark
	surplus int // keys of the list under way, or of the last one, for which there was no room
	lists   uint64
}

// mark is one revoked token.
type mark struct {
	until    time.Time // zero: until it is undone
	revision uint64    // of its key
	seen     uint64    // the list under way, or the last complete one, that had it
}

func (k *known) revoked(id ID, now time.Time) bool {
	k.mu.RLock()
	m, ok := k.tokens[id]
	k.mu.RUnlock()
	return ok && (m.until.IsZero() || now.Before(m.until))
}

// begin starts a list.
func (k *known) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lists++
	k.surplus = 0
}

// add takes a revocation, be it of a list or news. full: there was no room.
func (k *known) add(id ID, until time.Time, revision uint64) (full bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old, ok := k.tokens[id]
	if !ok && len(k.tokens) >= k.limit {
		k.surplus++
		return true
	}
	m := mark{until: until, revision: revision, seen: k.lists}
	if ok && old.revision > revision { // a list of a copy that is behind
		m.until, m.revision = old.until, old.revision
	}
	if k.tokens == nil {
		k.tokens = map[ID]mark{}
	}
	k.tokens[id] = m
	return false
}

// remove takes an undoing, unless something newer is known.
func (k *known) remove(id ID, revision uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tokens[id].revision < revision {
		delete(k.tokens, id)
	}
}

// complete ends a list. What neither it nor the one before had is gone, and what has expired too.
func (k *known) complete(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, m := range k.tokens {
		if m.seen+1 < k.lists || !m.until.IsZero() && !now.Before(m.until) {
			delete(k.tokens, id)
		}
	}
}

func (k *known) size() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.tokens)
}

func (k *known) tooMany() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.surplus
}
