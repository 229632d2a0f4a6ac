package httpapi

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// turns bound how many requests for triggers are at work at once while more than one account sends. Whoever is at work is on its way to the processors and into the log; a
// hundred of one account that come back from the log in the same moment would be in the way of the one of another account that comes then. So the others wait, where
// that costs nothing, and accounts take turns: one may have as many at work as are left for everybody else, and each may always have one. An account that sends alone is not
// bounded: there is nobody to whom it would matter. Safe for concurrent use.
type turns struct {
	patience time.Duration
	now      func() time.Time
	least    int // what there is for a log that takes no longer than turnTime; 0: there is a fixed number

	mu      sync.Mutex
	all     int
	free    int                   // of all; under 0: there are more accounts than turns, or one was alone before
	held    map[string]int        // by account; those that have none are not in it
	waiting map[string][]*waiting // by account, in the order in which they came
	order   []string              // accounts that wait, whose turn is next first

	last      string    // the account that came last
	lastCame  time.Time // when it did
	otherCame time.Time // when one that is not last did

	log logTime
}

// waiting is a request that waits. A turn comes with the closing of come; then it is in no list any more.
type waiting struct{ come chan struct{} }

// companyLasts is how long an account that has sent something counts as one that sends.
const companyLasts = 10 * time.Second

// turnsPerProcessor are for a log that takes turnTime at most for a record: of 8, 12 and 16, measured on two processors, the 8 kept the p99 of who comes beside a flood at about twice that of
// being alone (deploy/LIMITS.md). Accounts are accepted as fast as turns come back from the log, so for one that takes longer there are as many times more.
const (
	turnsPerProcessor = 8
	turnTime          = time.Millisecond
)

// newTurns makes as many turns, or as many as processors and log want (0).
func newTurns(all int, patience time.Duration) *turns {
	t := &turns{patience: patience, now: time.Now, held: map[string]int{}, waiting: map[string][]*waiting{}}
	if all == 0 {
		all = turnsPerProcessor * min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) // a container's part of the processors, if it has one
		t.least = all
	}
	t.all, t.free = all, all
	return t
}

var errTurn = errors.New("no turn came in time: of this account more requests are at work and wait than the log takes (-turns)")

// take returns with a turn (nil), or with errTurn or the error of ctx without one. Each turn is given back.
func (t *turns) take(ctx context.Context, account string) error {
	w := t.enter(account)
	if w == nil {
		return nil
	}
	patience := time.NewTimer(t.patience)
	defer patience.Stop()
	var err error
	select {
	case <-w.come:
		return nil
	case <-patience.C:
		err = errTurn
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !t.abandon(account, w) { // it came meanwhile
		t.giveBack(account)
	}
	return err
}

// enter takes a turn (nil), or a place among those who wait for one. Nobody is overtaken: where somebody of an account waits, it has as many as are left.
func (t *turns) enter(account string) *waiting {
	t.mu.Lock()
	defer t.mu.Unlock()
	alone, line := t.alone(account), t.waiting[account]
	if alone {
		for range line { // they came before the others left
			t.grant(account)
		}
	}
	if held := t.held[account]; alone || held == 0 || held < t.free {
		t.hold(account)
		return nil
	}
	w := &waiting{come: make(chan struct{})}
	t.waiting[account] = append(line, w)
	if len(line) == 0 {
		t.order = append(t.order, account)
	}
	return w
}

// alone notes that account has come, and says whether no other has for a while. The caller holds mu.
func (t *turns) alone(account string) bool {
	now := t.now()
	if account != t.last {
		t.last, t.otherCame = account, t.lastCame
	}
	t.lastCame = now
	return now.Sub(t.otherCame) > companyLasts
}

// giveBack gives a turn back, and on to who waits. An account that has none at work goes first, since each may have one; it is the one that gives it back.
func (t *turns) giveBack(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if t.held[account]--; t.held[account] == 0 {
		delete(t.held, account)
		if len(t.waiting[account]) > 0 {
			t.grant(account)
		}
	}
	t.passOn()
}

// passOn gives what is free to who waits. The caller holds mu.
func (t *turns) passOn() {
	for i := 0; i < len(t.order) && t.free > 0; {
		next := t.order[i]
		if t.held[next] >= t.free {
			i++
			continue
		}
		t.order = append(slices.Delete(t.order, i, i+1), next)
		t.grant(next)
	}
}

// grant gives a turn to the first of account that waits. The caller holds mu.
func (t *turns) grant(account string) {
	line := t.waiting[account]
	close(line[0].come)
	t.hold(account)
	t.leave(account, line[1:])
}

// leave shortens the line of an account. The caller holds mu.
func (t *turns) leave(account string, line []*waiting) {
	if len(line) > 0 {
		t.waiting[account] = line
		return
	}
	delete(t.waiting, account)
	t.order = slices.DeleteFunc(t.order, func(a string) bool { return a == account })
}

// hold: the caller holds mu.
func (t *turns) hold(account string) {
	t.held[account]++
	t.free--
}

// abandon takes w out of its line. It reports false if its turn has come already.
func (t *turns) abandon(account string, w *waiting) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.waiting[account]
	i := slices.Index(line, w)
	if i < 0 {
		return false
	}
	t.leave(account, slices.Delete(line, i, i+1))
	return true
}

// logTook notes how long the log took for a record, and makes as many turns as it wants.
func (t *turns) logTook(took time.Duration) {
	if t.least == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.took(took, t.now())
	want := int(time.Duration(t.least) * max(turnTime, t.log.least()) / turnTime)
	t.free += want - t.all
	t.all = want
	t.passOn()
}

// size is how many turns there are; nil has none.
func (t *turns) size() float64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(t.all)
}

// inLine is how many wait; nobody does for nil.
func (t *turns) inLine() float64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, line := range t.waiting {
		n += len(line)
	}
	return float64(n)
}
