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
	checks []statequery.Check
	slots  map[statequery.Check]int // index in checks
	bytes  int                      // at most what checks take in the request

	done  chan struct{} // closed by settle, which sets the rest before
	once  sync.Once
	reply statequery.Reply // Known nil: no answer
	final bool             // what is not known does not exist
	timer *time.Timer      // ends the wait of those who gather behind a slow request; nil: not armed
}

func newGathering() *gathering { return &gathering{done: make(chan struct{})} }

// Room in the request: all texts may double by escapes, and the braces, member names and quotes of one check are 33 bytes.
const (
	checkOverhead = 40
	gatheringRoom = statequery.MaxRequestBytes - 1024
)

func room(who statequery.Check) int {
	return 2*(len(who.Account)+len(who.User)+len(who.Key)) + checkOverhead
}

// fits reports whether who can still join.
func (g *gathering) fits(who statequery.Check, most int) bool {
	return len(g.checks) < most && g.bytes+room(who) <= gatheringRoom
}

// add gives who a slot, or the one that it has already.
func (g *gathering) add(who statequery.Check) int {
	if slot, ok := g.slots[who]; ok {
		return slot
	}
	// The caller may leave, and reuse the bytes of its strings, before the question is sent.
	who = statequery.Check{Account: strings.Clone(who.Account), User: strings.Clone(who.User), Key: strings.Clone(who.Key)}
	if g.slots == nil {
		g.slots = make(map[statequery.Check]int)
	}
	slot := len(g.checks)
	g.slots[who] = slot
	g.checks = append(g.checks, who)
	g.bytes += room(who)
	return slot
}

// limit ends the wait after d, sent or not. It is called before anybody else knows g.
func (g *gathering) limit(d time.Duration) {
	g.timer = time.AfterFunc(d, func() { g.settle(statequery.Reply{}, false) })
}

// finish hands out the answer, unless the wait has ended already.
func (g *gathering) finish(reply statequery.Reply, final bool) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.settle(reply, final)
}

// settle ends the wait; only the first one counts.
func (g *gathering) settle(reply statequery.Reply, final bool) {
	g.once.Do(func() {
		g.reply, g.final = reply, final
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

// finding reads one slot of a finished gathering.
func (g *gathering) finding(slot int) finding {
	return finding{g.result(slot), g.prior(slot)}
}

func (g *gathering) result(slot int) result {
	switch {
	case g.reply.Known == nil:
		return silent
	case g.reply.Known[slot]:
		return known
	case g.final:
		return unknown
	}
	return unsure
}

func (g *gathering) prior(slot int) Prior {
	if slot >= len(g.reply.Keys) {
		return Prior{}
	}
	k := g.reply.Keys[slot]
	return Prior{TriggerID: k.TriggerID, Print: k.Print, NoRoom: g.reply.KeysFull && k.TriggerID == "", Final: g.final || k.TriggerID != ""}
}
