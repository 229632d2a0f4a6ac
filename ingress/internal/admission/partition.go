package admission

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

// patientAtOnce is how many patient requests may be in flight: the owner holds each for a while, and an unknown user should not
// queue for longer than the time in which it can be answered.
const patientAtOnce = 4

// breaker says whether a partition's owner may be asked.
type breaker uint8

const (
	closed   breaker = iota // asked
	open                    // not asked before retryAt
	halfOpen                // one question is under way as a probe
)

// partition asks one partition's owner.
type partition struct {
	a *Admission
	p int

	mu      sync.Mutex
	state   breaker
	retryAt time.Time // open: when to probe
	done    bool      // Close was called
	quick   lane      // answered at once, from what is applied
	patient lane      // held until a negative is final
}

// lane is one kind of request. Its fields are guarded by the partition's mutex.
type lane struct {
	wait    time.Duration // how long the owner may hold the answer
	most    int           // requests in flight
	running int           // goroutines that ask, each has one request in flight
	waiting []*gathering  // in the order in which they will be sent; none unless running == most
}

func newPartition(a *Admission, p int) *partition {
	return &partition{
		a: a, p: p,
		quick: lane{most: 1},
		// The owner gives up a little before the callers do, so that it can still say so.
		patient: lane{most: patientAtOnce, wait: a.cfg.Timeout * 4 / 5},
	}
}

// ask joins a gathering of the lane, or starts one, and waits for its answer.
func (pt *partition) ask(ctx context.Context, l *lane, who statequery.Check) finding {
	g, slot, r := pt.join(l, who)
	if g == nil {
		return finding{result: r}
	}
	select {
	case <-g.done:
		return g.finding(slot)
	case <-ctx.Done():
		return finding{result: cancelled}
	}
}

// join finds a place for who. Without one (nil) it says why.
func (pt *partition) join(l *lane, who statequery.Check) (*gathering, int, result) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if !pt.admit() {
		return nil, 0, skipped
	}
	if l.running < l.most {
		g := newGathering()
		l.running++
		pt.a.wg.Add(1)
		go pt.run(l, g)
		return g, g.add(who), 0
	}
	if n := len(l.waiting); n > 0 && l.waiting[n-1].fits(who, pt.a.cfg.MaxChecks) {
		return l.waiting[n-1], l.waiting[n-1].add(who), 0
	}
	if len(l.waiting) >= pt.a.cfg.MaxGatherings {
		return nil, 0, full
	}
	g := newGathering()
	g.limit(pt.a.cfg.Timeout)
	l.waiting = append(l.waiting, g)
	return g, g.add(who), 0
}

// admit passes the question, unless the breaker says no. The first question after the breaker's time becomes the probe.
func (pt *partition) admit() bool {
	switch {
	case pt.done:
		return false
	case pt.state == closed:
		return true
	}
	if pt.state == halfOpen || pt.busy() || time.Now().Before(pt.retryAt) {
		return false
	}
	pt.state = halfOpen
	return true
}

// busy reports whether a question is in flight, be it one that nobody waits for any more.
func (pt *partition) busy() bool { return pt.quick.running+pt.patient.running > 0 }

// run sends gatherings, one after the other, until none waits.
func (pt *partition) run(l *lane, g *gathering) {
	defer pt.a.wg.Done()
	for ; g != nil; g = pt.next(l) {
		pt.send(l, g)
	}
}

// next takes the first gathering for which somebody still waits; if there is none, the calling goroutine's place is free.
func (pt *partition) next(l *lane) *gathering {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	for len(l.waiting) > 0 {
		g := l.waiting[0]
		l.waiting[0], l.waiting = nil, l.waiting[1:]
		if !g.over() {
			return g
		}
	}
	l.running--
	return nil
}

// send asks for everyone in g and hands out the answer. It returns when the answer is there, or can't come any more: up to
// Config.Breaker after the callers have given up, because a late answer is still good for the cache.
func (pt *partition) send(l *lane, g *gathering) {
	cfg := &pt.a.cfg
	checks := pt.seal(g)
	tokens := pt.tokens(checks)
	ctx, cancel := context.WithTimeout(pt.a.ctx, cfg.Timeout+cfg.Breaker)
	defer cancel()
	trip := time.AfterFunc(cfg.Timeout, func() { pt.trip(g) })
	start := time.Now()
	reply, err := pt.a.asker.Ask(ctx, pt.p, statequery.Request{Check: checks, WaitMillis: min(l.wait, statequery.MaxWait).Milliseconds()})
	trip.Stop()
	pt.a.metrics.asked(len(checks), time.Since(start))
	if !answers(reply, err, len(checks)) {
		pt.trip(g)
		return
	}
	pt.remember(checks, tokens, reply.Known)
	pt.heal()
	g.finish(reply, err == nil)
}

// seal reads g's checks under the mutex, which whoever added the last one has held. Nobody can join any more: g is in no lane's
// waiting list.
func (pt *partition) seal(g *gathering) []statequery.Check {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return g.checks
}

func (pt *partition) tokens(checks []statequery.Check) []uint64 {
	tokens := make([]uint64, len(checks))
	for i := range checks {
		tokens[i] = pt.a.cache.token(userOf(checks[i]))
	}
	return tokens
}

// answers reports whether there is an answer for all. An owner that is behind answers too: what it affirms holds.
func answers(reply statequery.Reply, err error, n int) bool {
	return (err == nil || errors.Is(err, statequery.ErrBehind)) && len(reply.Known) == n
}

func (pt *partition) remember(checks []statequery.Check, tokens []uint64, known []bool) {
	for i := range checks {
		if known[i] {
			pt.a.cache.put(userOf(checks[i]), tokens[i])
		}
	}
}

func userOf(c statequery.Check) statequery.User {
	return statequery.User{Account: c.Account, User: c.User}
}

// trip opens the breaker and lets everyone go who waits for this partition. Whoever is told of silence and asks again finds it open.
func (pt *partition) trip(g *gathering) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if pt.state != open {
		pt.state, pt.retryAt = open, time.Now().Add(pt.a.cfg.Breaker)
	}
	g.finish(statequery.Reply{}, false)
	pt.release()
}

// heal closes the breaker when a probe was answered, before its callers know; trip has opened it again if that was too late. An open one stays open: the
// question that tripped it may still be in flight, and those that follow would only queue behind it.
func (pt *partition) heal() {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if pt.state == halfOpen {
		pt.state = closed
	}
}

// release ends every gathering that is not sent yet. The mutex is held.
func (pt *partition) release() {
	for _, l := range []*lane{&pt.quick, &pt.patient} {
		for _, g := range l.waiting {
			g.finish(statequery.Reply{}, false)
		}
		l.waiting = nil
	}
}

func (pt *partition) close() {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	pt.done = true
	pt.release()
}

// broken reports whether questions are being skipped, for the gauge.
func (pt *partition) broken() float64 {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if pt.state == halfOpen || pt.state == open && time.Now().Before(pt.retryAt) {
		return 1
	}
	return 0
}
