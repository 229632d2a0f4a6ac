package httpapi

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/natstest"
)

// Whatever accounts do: all turns are somewhere, nobody of an account overtakes another, nobody waits without need, one that outweighs the others has no more than it may, and
// everybody who waits gets a turn in the end.
func TestTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		turns := newTurns(rapid.IntRange(1, 4).Draw(t, "each"), time.Hour)
		now := time.Unix(1_800_000_000, 0)
		turns.now = func() time.Time { return now }
		accounts := []string{"a", "b", "c"}
		who := rapid.SampledFrom(accounts)
		held, lines, atWork := map[string]int{}, map[string][]*waiting{}, map[string][]int{}
		inHand := func(account string) int {
			n := held[account]
			for _, w := range lines[account] {
				n += w.turns
			}
			return n
		}
		begin := func(account string, turns int) {
			held[account] += turns
			atWork[account] = append(atWork[account], turns)
		}
		most := func(account string) int {
			others := -inHand(account)
			for _, a := range accounts {
				others += inHand(a)
			}
			return max(turns.each, companyCounts*others)
		}
		settle := func(account string) (granted int) {
			for len(lines[account]) > 0 && came(lines[account][0]) {
				begin(account, lines[account][0].turns)
				granted++
				lines[account] = lines[account][1:]
			}
			return granted
		}
		giveBack := func(account string) (granted int) {
			n := atWork[account][0]
			atWork[account] = atWork[account][1:]
			held[account] -= n
			turns.giveBack(account, n)
			return settle(account)
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				account := who.Draw(t, "who")
				n := rapid.IntRange(1, 6).Draw(t, "turns")
				before, w := len(lines[account]), turns.enter(account, n)
				if w == nil {
					begin(account, n)
				} else {
					lines[account] = append(lines[account], w)
				}
				switch settle(account); {
				case w == nil && len(lines[account]) > 0:
					t.Fatalf("%s overtook %d of its own", account, before)
				case w == nil && held[account]-n >= most(account) && !turns.wasAlone(account):
					t.Fatalf("%s has %d at work, may have %d", account, held[account], most(account))
				case len(lines[account]) > 0 && held[account] < most(account):
					t.Fatalf("%s waits with %d at work, may have %d", account, held[account], most(account))
				}
			},
			"give back": func(t *rapid.T) {
				account := who.Draw(t, "who")
				if held[account] == 0 {
					return
				}
				if granted := giveBack(account); granted > 0 && held[account]-atWork[account][len(atWork[account])-1] >= most(account) {
					t.Fatalf("%s got a turn and has %d, may have %d", account, held[account], most(account))
				}
				if len(lines[account]) > 0 && held[account] < most(account) {
					t.Fatalf("%s waits with %d at work, may have %d", account, held[account], most(account))
				}
			},
			"abandon": func(t *rapid.T) {
				account := who.Draw(t, "who")
				if n := len(lines[account]); n > 0 {
					i := rapid.IntRange(0, n-1).Draw(t, "which")
					if !turns.abandon(account, lines[account][i]) {
						t.Fatal("it does not wait")
					}
					lines[account] = append(append([]*waiting{}, lines[account][:i]...), lines[account][i+1:]...)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{1, companyLasts, 2 * companyLasts}).Draw(t, "passes"))
			},
			"": func(t *rapid.T) {
				all, inLine := 0, 0
				for _, account := range accounts {
					all, inLine = all+inHand(account), inLine+len(lines[account])
					if a := turns.accounts[account]; (a != nil) != (inHand(account) > 0) || a != nil && (a.held != held[account] || len(a.line) != len(lines[account])) {
						t.Fatalf("%s: %+v, want %d and %d", account, a, held[account], len(lines[account]))
					}
				}
				if turns.inHand != all || turns.inLine() != float64(inLine) {
					t.Fatalf("%d in hand and %g in line, want %d and %d", turns.inHand, turns.inLine(), all, inLine)
				}
			},
		})
		for range 10_000 {
			for _, account := range accounts {
				if held[account] > 0 {
					giveBack(account)
				}
			}
		}
		if turns.inLine() != 0 || turns.inHand != 0 || len(turns.accounts) != 0 {
			t.Fatalf("not everybody got a turn: %+v", turns)
		}
	})
}

// wasAlone says whether account, which came last, was alone then.
func (t *turns) wasAlone(account string) bool {
	return account == t.last && t.lastCame.Sub(t.otherCame) > companyLasts
}

// out is how many are at work.
func (t *turns) out() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.accounts {
		n += a.held
	}
	return n
}

func came(w *waiting) bool {
	select {
	case <-w.come:
		return true
	default:
		return false
	}
}

// at makes turns whose clock stands still, and a function that enters and expects a turn or none.
func at(t *testing.T, each int, now *time.Time) (turns *turns, enter func(account string, want bool) *waiting) {
	turns = newTurns(each, time.Hour)
	turns.now = func() time.Time { return *now }
	return turns, func(account string, want bool) *waiting {
		t.Helper()
		w := turns.enter(account, 1)
		if (w == nil) != want {
			t.Fatalf("%s at work: %v, want %v", account, w == nil, want)
		}
		return w
	}
}

// An account that sends alone is at work with all it has, and from when another one comes with a few; what comes back goes to those who wait.
func TestTurnsAreForCompany(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	turns, enter := at(t, 3, &now)
	for range 10 {
		enter("flood", true)
	}
	enter("quiet", true)
	flood := []*waiting{enter("flood", false), enter("flood", false), enter("flood", false)}
	enter("quiet", true)
	turns.giveBack("quiet", 1) // 1 of it is left
	for range 7 {
		turns.giveBack("flood", 1)
	}
	if came(flood[0]) {
		t.Error("a turn came beyond the few")
	}
	turns.giveBack("flood", 1) // has 2
	if !came(flood[0]) || came(flood[1]) {
		t.Error("who came first is not the next, or more than the few are at work")
	}
	now = now.Add(companyLasts + 1)
	if enter("flood", true); !came(flood[1]) || !came(flood[2]) {
		t.Error("it is alone again, and those who came before wait")
	}
}

// A long request takes as many turns as its body makes work, however many that is, and one after the other goes.
func TestLongRequestsTakeMoreTurns(t *testing.T) {
	for body, want := range map[int]int{0: 1, 1: 1, turnBytes: 1, turnBytes + 1: 2, 8 << 20: 8 << 10} {
		if got := turnsOf(body); got != want {
			t.Errorf("%d bytes take %d turns, want %d", body, got, want)
		}
	}
	now := time.Unix(1_800_000_000, 0)
	turns, enter := at(t, 4, &now)
	enter("quiet", true)
	if turns.enter("flood", 3) != nil || turns.enter("flood", 100) != nil {
		t.Error("it waits with 3 of 4 at work")
	}
	next, short := turns.enter("flood", 100), enter("flood", false)
	if turns.giveBack("flood", 3); came(next) {
		t.Error("two long ones are at work at once")
	}
	if turns.giveBack("flood", 100); !came(next) || came(short) {
		t.Error("the next one is not at work, or not alone")
	}
	if turns.enter("quiet", 100) != nil { // it has one at work, and may have twice what the flood has
		t.Error("the other one's long request waits")
	}
}

// Only one that outweighs all the others waits: accounts that send as much as each other have what they need at work, however much that is together.
func TestOnlyWhoOutweighsTheOthersWaits(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	turns, enter := at(t, 1, &now)
	for range 100 {
		for _, account := range []string{"a", "b", "c"} {
			enter(account, true)
		}
	}
	for range 500 { // twice what the others have is 400, of which it has 100
		turns.enter("a", 1)
	}
	if got := turns.accounts["a"].held; got != companyCounts*200 {
		t.Errorf("%d of it are at work", got)
	}
	for range 300 {
		turns.enter("d", 1) // and so do those who wait themselves count
	}
	if turns.giveBack("a", 1); len(turns.accounts["a"].line) != 0 {
		t.Errorf("%d of it wait, although the others have as much", len(turns.accounts["a"].line))
	}
}

// While some have waited for long, more and more are at work: what is more than the bound lets through is slower, and not refused.
func TestNobodyWaitsForLong(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	turns, enter := at(t, 1, &now)
	enter("quiet", true)
	enter("flood", true)
	enter("flood", true) // twice what the quiet one has
	var flood []*waiting
	for range 5 {
		flood = append(flood, enter("flood", false))
	}
	turns.giveBack("quiet", 1)
	now = now.Add(time.Hour/dueAfter + 1)
	for i := range 2 {
		turns.giveBack("flood", 1)
		if !came(flood[2*i+1]) || came(flood[2*i+2]) {
			t.Errorf("%d came back, and %d are to come", i+1, 2*i+2)
		}
	}
	if got := turns.out(); got != 4 {
		t.Errorf("%d are at work", got)
	}
}

// A log that takes longer than turnTime lets each account have as many times more at work. It is as fast as the fastest lately.
func TestTurnsFollowTheLog(t *testing.T) {
	turns := newTurns(0, time.Hour)
	now := time.Unix(1_800_000_000, 0)
	turns.now = func() time.Time { return now }
	least := turns.least
	want := func(each int, took time.Duration) {
		t.Helper()
		if turns.logTook(took); int(turns.size()) != each {
			t.Errorf("%v: %g turns, want %d", took, turns.size(), each)
		}
	}
	want(3*least, 3*turnTime)
	want(2*least, 2*turnTime)
	want(least, turnTime/2)
	want(least, 5*turnTime)
	for range 2 {
		now = now.Add(logPeriod + 1)
		turns.logTook(5 * turnTime)
	}
	want(5*least, 6*turnTime)
	if fixed := newTurns(4, time.Hour); fixed.size() != 4 {
		t.Errorf("told to be 4: %g", fixed.size())
	} else if fixed.logTook(time.Hour); fixed.size() != 4 {
		t.Errorf("told to be 4, of a slow log: %g", fixed.size())
	}
}

// Who waits goes with errTurn when it took too long, or with its context, and leaves no turn behind.
func TestWaitingForATurnEnds(t *testing.T) {
	turns := newTurns(1, 10*time.Millisecond)
	ctx := t.Context()
	turns.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	for _, account := range []string{"b", "a", "a"} { // two for the one of b
		if err := turns.take(ctx, account, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := turns.take(ctx, "a", 1); !errors.Is(err, errTurn) {
		t.Errorf("late: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	turns.patience = time.Hour
	if err := turns.take(canceled, "a", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	for _, account := range []string{"a", "a", "b"} {
		turns.giveBack(account, 1)
	}
	if turns.inHand != 0 || len(turns.accounts) != 0 {
		t.Errorf("%+v", turns)
	}
}

// Whoever goes at the moment in which a turn comes gives it on.
func TestNoTurnIsLost(t *testing.T) {
	turns := newTurns(2, time.Hour)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			account := string(rune('a' + i%3))
			for n := range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%5)*50*time.Microsecond)
				if turns.take(ctx, account, 1) == nil {
					if n%3 == 0 {
						runtime.Gosched()
					}
					turns.giveBack(account, 1)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if turns.inHand != 0 || len(turns.accounts) != 0 {
		t.Errorf("%+v", turns)
	}
}

// crowd sends triggers that do not come back from the log before done, which waits for so many answers that are good, and for all turns to be back.
func crowd(t *testing.T, timeout time.Duration) (w *world, send func(account, path, body string), done func(n int)) {
	t.Helper()
	w = newWorld(t, func(c *Config) { c.Turns, c.TurnTimeout = 1, timeout })
	w.appender.entered, w.appender.release = make(chan struct{}, 100), make(chan struct{})
	release := sync.OnceFunc(func() { close(w.appender.release) })
	t.Cleanup(release)
	answers := make(chan answer, 100)
	send = func(account, path, body string) {
		go func() {
			answers <- answerOf(w, httpRequest(http.MethodPost, path, body, "Authorization", "JWT "+account+":trigger"))
		}()
	}
	return w, send, func(n int) {
		t.Helper()
		release()
		for range n {
			if a := <-answers; a.status != 200 {
				t.Errorf("answer %d %s", a.status, a.body)
			}
		}
		if w.api.turns.inHand != 0 || len(w.api.turns.accounts) != 0 {
			t.Errorf("afterwards: %+v", w.api.turns)
		}
	}
}

const anyTrigger = `{"user_id":"x","module_id":null}`

// While another account sends, one that floods is at work with twice as many as that has in hand, and answered all the same.
func TestFloodTakesTurns(t *testing.T) {
	w, send, done := crowd(t, time.Hour)
	send("quiet", triggerPath, anyTrigger)
	<-w.appender.entered
	for range 5 {
		send("flood", triggerPath, anyTrigger)
		send("flood", batchPath, "["+anyTrigger+"]")
	}
	<-w.appender.entered
	natstest.Eventually(t, func() bool { return w.api.turns.inLine() >= 8 }, "the flood waits")
	send("quiet too", triggerPath, anyTrigger)
	<-w.appender.entered
	if n := len(w.appender.entered); n > 1 {
		t.Errorf("%d of the flood are at work", n+1)
	}
	done(12)
}

// A long batch is more than one request: while it is at work, nothing else of its account is, beside another one.
func TestLongBatchTakesTurns(t *testing.T) {
	w, send, done := crowd(t, time.Hour)
	send("quiet", triggerPath, anyTrigger)
	<-w.appender.entered
	long := "[" + strings.Repeat(" ", companyCounts*turnBytes) + anyTrigger + "]"
	send("flood", batchPath, long)
	<-w.appender.entered
	send("flood", triggerPath, anyTrigger)
	natstest.Eventually(t, func() bool { return w.api.turns.inLine() == 1 || len(w.appender.entered) > 0 }, "the next one waits, or is at work")
	if n := len(w.appender.entered); n > 0 {
		t.Error("it is at work beside the batch")
	}
	done(3)
}

// Of a batch that has company fewer items are on their way at once, but not if that takes long; of one that has none as many as ever.
func TestBatchInCompany(t *testing.T) {
	const items = 40
	var list []string
	for i := range items {
		list = append(list, `{"user_id":"u`+strconv.Itoa(i)+`","module_id":null}`)
	}
	batch := "[" + strings.Join(list, ",") + "]"
	turns := turnsOf(len(batch))
	for _, patience := range []time.Duration{time.Hour, time.Nanosecond} {
		w, send, done := crowd(t, patience)
		onTheirWay := func(n int) {
			t.Helper()
			natstest.Eventually(t, func() bool { return len(w.appender.entered) >= n }, "so many items are on their way")
			for range n {
				<-w.appender.entered
			}
		}
		send("a", batchPath, batch)
		onTheirWay(items)
		send("quiet", triggerPath, anyTrigger)
		onTheirWay(1)
		send("b", batchPath, batch)
		few := turnItems * companyCounts * (turns + 1)
		if patience < time.Second {
			few = items
		}
		onTheirWay(few)
		<-time.After(50 * time.Millisecond)
		if n := len(w.appender.entered); n > 0 {
			t.Errorf("%d more items are on their way", n)
		}
		done(3)
	}
}

// What a trigger's record takes into the log is what turns follow.
func TestTurnsAreToldOfTheLog(t *testing.T) {
	w := newWorld(t, nil)
	w.appender.entered, w.appender.release = make(chan struct{}, 1), make(chan struct{})
	before := w.api.turns.size()
	answers := make(chan answer, 1)
	go func() {
		answers <- answerOf(w, httpRequest(http.MethodPost, triggerPath, anyTrigger, "Authorization", "JWT a:trigger"))
	}()
	<-w.appender.entered
	<-time.After(3 * turnTime)
	close(w.appender.release)
	if a := <-answers; a.status != 200 || w.api.turns.size() < 3*before {
		t.Errorf("answer %d, %g turns of %g", a.status, w.api.turns.size(), before)
	}
}

// One that waits too long is told so, while others are answered.
func TestNoTurnInTime(t *testing.T) {
	w, send, done := crowd(t, time.Millisecond)
	for _, account := range []string{"quiet", "flood", "flood"} {
		send(account, triggerPath, anyTrigger)
		<-w.appender.entered
	}
	for i, path := range []string{triggerPath, batchPath} {
		body := map[string]string{triggerPath: anyTrigger, batchPath: "[" + anyTrigger + "]"}[path]
		a := w.do(http.MethodPost, path, body, "Authorization", "JWT flood:trigger")
		if a.status != 503 || !strings.Contains(a.body, `"unavailable"`) || a.header.Get("Retry-After") != "1" {
			t.Errorf("too late: %d %s", a.status, a.body)
		}
		if n := testutil.ToFloat64(w.api.metrics.overloads.WithLabelValues(limitTurns)); n != float64(i+1) {
			t.Errorf("%g counted", n)
		}
	}
	done(3)
}
