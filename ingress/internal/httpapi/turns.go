package httpapi

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// turns bound how many requests for triggers one account has at work at once while others send; a long one, as a batch is, takes several. Whoever is at work is on its way to the processors and into the log; a
// hundred of one account that come back from the log in the same moment would be in the way of the one of another account that comes then. So an account may have at work
// companyCounts times as many as all others together have in hand, and a few in any case; the rest of its requests wait, where that costs nothing. Only an account that outweighs all others
// waits, however much all of them send together. One that sends alone is not bounded: there is nobody to whom it would matter. Safe for concurrent use.
type turns struct {
	patience time.Duration
	now      func() time.Time
	least    int // what an account may have in any case if the log takes no longer than turnTime; 0: each is fixed

	mu       sync.Mutex
	each     int                // what an account may have in any case
	inHand   int                // at work and waiting, of all accounts
	accounts map[string]*inHand // none without anything

	last      string    // the account that came last
	lastCame  time.Time // when it did
	otherCame time.Time // when one that is not last did

	log logTime
}

// inHand is what one account has.
type inHand struct {
	held  int        // turns
	line  []*waiting // in the order in which they came
	wants int        // turns, of those in line
}

// waiting is a request that waits. A turn comes with the closing of come; then it is in no list any more.
type waiting struct {
	come  chan struct{}
	since time.Time
	turns int
}

// companyLasts is how long an account that has sent something counts as one that sends.
const companyLasts = 10 * time.Second

// turnsPerProcessor are for a log that takes turnTime at most for a record (deploy/LIMITS.md has what they do to who comes beside a flood). Accounts are accepted as fast as turns come
// back from the log, so for one that takes longer there are as many times more.
const (
	turnsPerProcessor = 4
	turnTime          = time.Millisecond
)

const (
	// companyCounts keeps two accounts that send about as much from bounding each other.
	companyCounts = 2
	// turnBytes of a body take one turn: about as many items of a batch as make as much work as a request with one trigger does.
	turnBytes = 1 << 10
	// turnItems of a batch are on their way to the log at once for each turn that its account may have: that many come back from it in the same moment (deploy/LIMITS.md has what they do).
	turnItems = 2
	// dueAfter is the part of its patience after which a request gets a turn beyond the bound. Then more and more are at work, until nobody waits for that long: an account that sends
	// more than the bound lets through is slower for that, and refused only when the log takes no more.
	dueAfter = 10
)

// newTurns lets each account have as many in any case, or as many as processors and log want (0).
func newTurns(each int, patience time.Duration) *turns {
	t := &turns{patience: patience, now: time.Now, accounts: map[string]*inHand{}, each: each}
	if each == 0 {
		t.least = turnsPerProcessor * min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) // a container's part of the processors, if it has one
		t.each = t.least
	}
	return t
}

var errTurn = errors.New("no turn came in time: this account has far more in hand than all others together, and more than the log takes of it beside them (-turns)")

// turnsOf is how many turns a request takes. It may be more than an account may have: then it is at work alone.
func turnsOf(body int) int { return max(1, (body+turnBytes-1)/turnBytes) }

// take returns with n turns (nil), or with errTurn or the error of ctx without one. All are given back together.
func (t *turns) take(ctx context.Context, account string, n int) error {
	w := t.enter(account, n)
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
		t.giveBack(account, n)
	}
	return err
}

// enter takes n turns (nil), or a place among those who wait for some. Nobody is overtaken by one of the same account.
func (t *turns) enter(account string, n int) *waiting {
	t.mu.Lock()
	defer t.mu.Unlock()
	alone, a := t.alone(account), t.accounts[account]
	if a == nil {
		a = &inHand{}
		t.accounts[account] = a
	}
	if alone {
		a.grant(len(a.line)) // they came before the others left
	}
	free := alone || len(a.line) == 0 && a.held < t.most(a)
	if t.inHand += n; free {
		a.held += n
		return nil
	}
	w := &waiting{make(chan struct{}), t.now(), n}
	a.line, a.wants = append(a.line, w), a.wants+n
	t.passOn(a)
	return w
}

// most is how many turns an account may have, but for those of the last request that fits no more. The caller holds mu.
func (t *turns) most(a *inHand) int { return max(t.each, companyCounts*(t.inHand-a.held-a.wants)) }

// passOn gives turns to those of an account that wait. The caller holds mu.
func (t *turns) passOn(a *inHand) {
	for len(a.line) > 0 && a.held < t.most(a) {
		a.grant(1)
	}
}

// grant gives turns to the first n that wait.
func (a *inHand) grant(n int) {
	for _, w := range a.line[:n] {
		close(w.come)
		a.held, a.wants = a.held+w.turns, a.wants-w.turns
	}
	a.line = a.line[n:]
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

// items is how many items of a batch of account, which is at work, may be on their way at once in its first time (dueAfter): up to limit, and all of these if it is alone or nothing is bounded (nil).
func (t *turns) items(account string, limit int) int {
	if t == nil {
		return limit
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if account == t.last && t.now().Sub(t.otherCame) > companyLasts {
		return limit
	}
	return min(limit, turnItems*t.most(t.accounts[account]))
}

// giveBack gives n turns back, and on to who waits of the same account. That is enough for all of them to have one in the end, since an account of whom somebody waits has some at
// work.
func (t *turns) giveBack(account string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.accounts[account]
	a.held -= n
	t.left(account, a, n)
	t.passOn(a)
	if len(a.line) > 0 && t.now().Sub(a.line[0].since) > t.patience/dueAfter {
		a.grant(min(2, len(a.line))) // one more than came back
	}
}

// left notes that account has n less. The caller holds mu.
func (t *turns) left(account string, a *inHand, n int) {
	if t.inHand -= n; a.held == 0 && len(a.line) == 0 {
		delete(t.accounts, account)
	}
}

// abandon takes w out of its line. It reports false if its turn has come already.
func (t *turns) abandon(account string, w *waiting) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.accounts[account]
	i := slices.Index(a.line, w)
	if i < 0 {
		return false
	}
	a.line, a.wants = slices.Delete(a.line, i, i+1), a.wants-w.turns
	t.left(account, a, w.turns)
	return true
}

// logTook notes how long the log took for a record: an account may have as many more as it wants.
func (t *turns) logTook(took time.Duration) {
	if t.least == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.took(took, t.now())
	t.each = int(time.Duration(t.least) * max(turnTime, t.log.least()) / turnTime)
}

// size is what each account may have at work in any case; nil has no bound.
func (t *turns) size() float64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(t.each)
}

// inLine is how many wait; nobody does for nil.
func (t *turns) inLine() float64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, a := range t.accounts {
		n += len(a.line)
	}
	return float64(n)
}
