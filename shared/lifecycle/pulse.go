package lifecycle

import (
	"slices"
	"sync/atomic"
	"time"
)

// Pulse is the sign of life of one loop. Its methods are the loop's alone, except Health's looks at it. All of them do nothing on a nil *Pulse.
//
// A loop counts as hung if it has not turned for a while in which it did not rest. So a loop turns once a round, and rests before it waits for
// something that nobody in this process can hurry; if all its waiting ends by a timer it need not rest at all.
type Pulse struct {
	name  string
	turns atomic.Uint64
	rests atomic.Bool

	// These are Health's, under its lock.
	seen uint64        // turns, at the last look
	held time.Duration // for how long it has not turned
}

// Turn notes that the loop begins another round. It costs two atomic stores.
func (p *Pulse) Turn() {
	if p != nil {
		p.turns.Add(1)
		p.rests.Store(false)
	}
}

// Rest notes that the loop waits, or has ended: until its next Turn nothing is expected of it.
func (p *Pulse) Rest() {
	if p != nil {
		p.rests.Store(true)
	}
}

// Stall is a loop that has not turned for a while.
type Stall struct {
	Loop string
	Held time.Duration // as far as it was looked at
}

// Pulse adds a loop, which rests at first; end takes it away again.
func (h *Health) Pulse(name string) (p *Pulse, end func()) {
	if h == nil {
		return nil, func() {}
	}
	p = &Pulse{name: name}
	p.Rest()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pulses = append(h.pulses, p)
	return p, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.pulses = slices.DeleteFunc(slices.Clone(h.pulses), func(other *Pulse) bool { return other == p })
	}
}

// Look is called by whoever watches the loops, once every step, and counts step for each that has not turned since the last look. It does not ask
// a clock: in a process that was frozen, or on a machine that slept, neither the loops nor the looks went on. A loop that has not turned for after
// is hung; 0 finds none.
func (h *Health) Look(step, after time.Duration) (hung []Stall) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hung = nil
	for _, p := range h.pulses {
		turns, rests := p.turns.Load(), p.rests.Load()
		if rests || turns != p.seen {
			p.seen, p.held = turns, 0
			continue
		}
		if p.held += step; after > 0 && p.held >= after {
			h.hung = append(h.hung, Stall{p.name, p.held})
		}
	}
	return h.hung
}

// Hung are the loops that were hung at the last look. While there are any the process is of no use, and is better started anew.
func (h *Health) Hung() []Stall {
	if h == nil {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.hung
}

// Pulses tells of every loop for how long it has not turned, as of the last look.
func (h *Health) Pulses() (all []Stall) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, p := range h.pulses {
		all = append(all, Stall{p.name, p.held})
	}
	return all
}
