package loadgen

import (
	"sync"

	"github.com/triggerd/triggerd/shared/record"
)

// history is what all users were promised, as it is when a run has ended, or as its ledger tells it. What belongs to one user is for one goroutine at
// a time; the rest is safe for concurrent use.
type history struct {
	header
	users []promises

	mu         sync.Mutex
	duplicates []duplicate // accepted once more, and must come to nothing
	breaches   []Breach
	totals     Totals // Accepted and Unknown are counted at the end
}

func newHistory(h header) *history {
	all := &history{header: h, users: make([]promises, h.Users)}
	for n := range all.users {
		all.users[n].registered = 1
	}
	return all
}

// accepted notes an answer to a trigger that may have been sent more than once.
func (h *history) accepted(user int, id record.ID, replayed bool) {
	p := &h.users[user]
	known := p.last == p.current.number && p.last > 0
	b, dup := p.accept(id, replayed)
	if known || replayed {
		h.repeat(user, dup)
	}
	h.breach(user, b)
}

// repeated notes an answer to a trigger that was sent again later.
func (h *history) repeated(user int, first, id record.ID, replayed bool) {
	b, dup := repeated(first, id, replayed)
	h.repeat(user, dup)
	h.breach(user, b)
}

func (h *history) repeat(user int, dup duplicate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.totals.Repeats++
	if dup.id != (record.ID{}) {
		dup.user = user
		h.duplicates = append(h.duplicates, dup)
	}
}

func (h *history) refused() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.totals.Refused++
}

// denied notes that a repeat was refused for a reason that is not for now only.
func (h *history) denied(user int, first record.ID, code string) {
	h.breach(user, broken(Replays, "it was accepted as %s, its repeat is refused: %s", first, code))
}

// breach notes a promise that was not kept, if b is one.
func (h *history) breach(user int, b breach) {
	if b.promise == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.breaches = append(h.breaches, Breach{b.promise, userName(h.Run, user), b.text})
}

// sum counts up what the users were promised.
func (h *history) sum() Totals {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.totals
	for i := range h.users {
		t.Accepted += h.users[i].accepted
		if h.users[i].unknown != nil {
			t.Unknown++
		}
	}
	return t
}
