package admission

import (
	"strings"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

// gathering is one request in the making, then in flight, then answered.
type gathering struct {
	// Guarded by the partition's mutex, and fixed once the gathering is sent.
	users []statequery.User
	slots map[statequery.User]int // index in users; nil while there is one user
	bytes int                     // at most what users take in the request

	done  chan struct{} // closed by settle, which sets the rest before
	once  sync.Once
	known []bool      // nil: no answer
	final bool        // what is not known does not exist
	timer *time.Timer // ends the wait of those who gather behind a slow request; nil: not armed
}

func newGathering() *gathering { return &gathering{done: make(chan struct{})} }

// Room in the request: both names may double by escapes, and the braces, member names and quotes of one user are 25 bytes.
const (
	userOverhead  = 32
	gatheringRoom = statequery.MaxRequestBytes - 1024
)

func room(who statequery.User) int { return 2*(len(who.Account)+len(who.User)) + userOverhead }

// fits reports whether who can still join.
func (g *gathering) fits(who statequery.User, most int) bool {
	return len(g.users) < most && g.bytes+room(who) <= gatheringRoom
}

// add gives who a slot, or the one that it has already.
func (g *gathering) add(who statequery.User) int {
	if slot, ok := g.slots[who]; ok {
		return slot
	}
	// The caller may leave, and reuse the bytes of its strings, before the question is sent.
	who = statequery.User{Account: strings.Clone(who.Account), User: strings.Clone(who.User)}
	if g.slots == nil {
		g.slots = make(map[statequery.User]int)
	}
	slot := len(g.users)
	g.slots[who] = slot
	g.users = append(g.users, who)
	g.bytes += room(who)
	return slot
}

// limit ends the wait after d, sent or not. It is called before anybody else knows g.
func (g *gathering) limit(d time.Duration) {
	g.timer = time.AfterFunc(d, func() { g.settle(nil, false) })
}

// finish hands out the answer, unless the wait has ended already.
func (g *gathering) finish(known []bool, final bool) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.settle(known, final)
}

// settle ends the wait; only the first one counts.
func (g *gathering) settle(known []bool, final bool) {
	g.once.Do(func() {
		g.known, g.final = known, final
		close(g.done)
	})
}

// over reports whether finish was called.
func (g *gathering) over() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// result reads one slot of a finished gathering.
func (g *gathering) result(slot int) result {
	switch {
	case g.known == nil:
		return silent
	case g.known[slot]:
		return known
	case g.final:
		return unknown
	}
	return unsure
}
