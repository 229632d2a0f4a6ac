package httpapi

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/natstest"
)

// Whatever accounts do: all turns are somewhere, who has none at work gets one at once, nobody of an account overtakes another, and everybody who waits gets one in the end.
func TestTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.IntRange(1, 8).Draw(t, "all")
		turns := newTurns(all, time.Hour)
		turns.least = all
		now := time.Unix(1_800_000_000, 0)
		turns.now = func() time.Time { return now }
		accounts := []string{"a", "b", "c"}
		who := rapid.SampledFrom(accounts)
		held, lines := map[string]int{}, map[string][]*waiting{}
		settle := func() {
			for account, line := range lines {
				for len(line) > 0 && came(line[0]) {
					held[account]++
					line = line[1:]
				}
				lines[account] = line
			}
		}
		giveBack := func(account string) {
			held[account]--
			turns.giveBack(account)
			settle()
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				account := who.Draw(t, "who")
				w := turns.enter(account)
				settle()
				switch {
				case w != nil && held[account] == 0:
					t.Fatalf("%s waits and has none", account)
				case w != nil:
					lines[account] = append(lines[account], w)
				case len(lines[account]) > 0:
					t.Fatalf("%s overtook %d of its own", account, len(lines[account]))
				default:
					held[account]++
				}
			},
			"give back": func(t *rapid.T) {
				if account := who.Draw(t, "who"); held[account] > 0 {
					giveBack(account)
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
			"log": func(t *rapid.T) {
				turns.logTook(time.Duration(rapid.Int64Range(0, 20).Draw(t, "took")) * turnTime / 4)
				settle()
			},
			"time": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{1, companyLasts, 2 * companyLasts}).Draw(t, "passes"))
			},
			"": func(t *rapid.T) {
				out, inLine := 0, 0
				for _, account := range accounts {
					out, inLine = out+held[account], inLine+len(lines[account])
					if turns.held[account] != held[account] || len(turns.waiting[account]) != len(lines[account]) {
						t.Fatalf("%s has %d and %d wait, want %d and %d", account, turns.held[account], len(turns.waiting[account]), held[account], len(lines[account]))
					}
				}
				if all = turns.all; all < turns.least || all > 5*turns.least {
					t.Fatalf("%d turns, the least is %d", all, turns.least)
				}
				if turns.free != all-out || turns.inLine() != float64(inLine) || len(turns.order) != len(turns.waiting) {
					t.Fatalf("%d free of %d, %d out; %v in order, %v wait", turns.free, all, out, turns.order, turns.waiting)
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
		if turns.inLine() != 0 || turns.free != all || len(turns.held) != 0 || len(turns.order) != 0 {
			t.Fatalf("not everybody got a turn: %+v", turns)
		}
	})
}

// out is how many are at work.
func (t *turns) out() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, held := range t.held {
		n += held
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

// An account that sends alone is at work with all it has, and from when another one comes with as many as are left for that; what comes back goes to each of those who wait.
func TestTurnsAreForCompany(t *testing.T) {
	turns := newTurns(4, time.Hour)
	now := time.Unix(1_800_000_000, 0)
	turns.now = func() time.Time { return now }
	enter := func(account string, want bool) *waiting {
		t.Helper()
		w := turns.enter(account)
		if (w == nil) != want {
			t.Fatalf("%s at work: %v, want %v", account, w == nil, want)
		}
		return w
	}
	for range 10 {
		enter("flood", true)
	}
	enter("quiet", true)
	flood := []*waiting{enter("flood", false), enter("flood", false), enter("flood", false)}
	quiet := enter("quiet", false) // its second one, while the flood has more than all
	for range 7 {
		turns.giveBack("flood")
	}
	if came(flood[0]) || came(quiet) {
		t.Error("a turn came although none is left")
	}
	turns.giveBack("flood") // has 2, and quiet 1
	if came(flood[0]) || came(quiet) {
		t.Error("none is to have as many as are left")
	}
	turns.giveBack("flood") // each has 1, and the flood came first
	if !came(flood[0]) || came(quiet) {
		t.Error("who came first is not the next")
	}
	turns.giveBack("quiet")
	if !came(quiet) || came(flood[1]) {
		t.Error("one that has none at work waits, or the flood has more than are left")
	}
	now = now.Add(companyLasts + 1)
	if enter("flood", true); !came(flood[1]) || !came(flood[2]) {
		t.Error("it is alone again, and those who came before wait")
	}
}

// What comes back goes to one account after the other, however many of the first one wait.
func TestAccountsTakeTurns(t *testing.T) {
	turns := newTurns(6, time.Hour)
	for range 6 {
		turns.enter("busy") // alone, so far
	}
	lines := map[string][]*waiting{}
	for _, account := range []string{"a", "b", "c"} {
		turns.enter(account) // each may have one
		for range 3 {
			lines[account] = append(lines[account], turns.enter(account))
		}
	}
	for range 6 {
		turns.giveBack("busy")
	}
	// Of six each has one, and two of them another one. A third one would leave less than it has.
	for i, step := range []struct{ back, next string }{{"", "a"}, {"", "b"}, {"a", "c"}, {"b", "a"}, {"c", "b"}, {"a", "c"}} {
		if step.back != "" {
			turns.giveBack(step.back)
		}
		line := lines[step.next]
		if !came(line[0]) {
			t.Fatalf("step %d: %s has not the next turn", i, step.next)
		}
		lines[step.next] = line[1:]
	}
	if turns.free != 1 || turns.inLine() != 3 {
		t.Errorf("%d free, %g wait", turns.free, turns.inLine())
	}
}

// A log that takes longer than turnTime wants as many times more turns, and those who wait get them. It is as fast as the fastest lately.
func TestTurnsFollowTheLog(t *testing.T) {
	turns := newTurns(0, time.Hour)
	now := time.Unix(1_800_000_000, 0)
	turns.now = func() time.Time { return now }
	least := turns.least
	want := func(all int, took time.Duration) {
		t.Helper()
		if turns.logTook(took); int(turns.size()) != all || turns.free != all-turns.out() {
			t.Errorf("%v: %g turns, %d free, want %d", took, turns.size(), turns.free, all)
		}
	}
	want(3*least, 3*turnTime)
	want(2*least, 2*turnTime)
	want(least, turnTime/2)
	want(least, 5*turnTime)
	turns.enter("flood")
	turns.enter("quiet")
	var last *waiting
	for last == nil || len(turns.waiting["flood"]) < least {
		last = turns.enter("flood")
	}
	for range 2 {
		if came(last) {
			t.Fatal("a turn came although the log was fast a moment ago")
		}
		now = now.Add(logPeriod + 1)
		turns.logTook(5 * turnTime)
	}
	if want(5*least, 6*turnTime); !came(last) {
		t.Error("turns have come to be, and who waits gets none")
	}
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
	for _, account := range []string{"a", "b"} {
		if err := turns.take(ctx, account); err != nil {
			t.Fatal(err)
		}
	}
	if err := turns.take(ctx, "a"); !errors.Is(err, errTurn) {
		t.Errorf("late: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	turns.patience = time.Hour
	if err := turns.take(canceled, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	turns.giveBack("a")
	turns.giveBack("b")
	if turns.free != 1 || turns.inLine() != 0 || len(turns.held) != 0 {
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
				if turns.take(ctx, account) == nil {
					if n%3 == 0 {
						runtime.Gosched()
					}
					turns.giveBack(account)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if turns.free != 2 || turns.inLine() != 0 || len(turns.held) != 0 || len(turns.order) != 0 {
		t.Errorf("%+v", turns)
	}
}

// crowd sends triggers that do not come back from the log before it is told.
func crowd(t *testing.T, timeout time.Duration) (w *world, send func(account, path, body string), answers chan answer) {
	t.Helper()
	w = newWorld(t, func(c *Config) { c.Turns, c.TurnTimeout = 4, timeout })
	w.appender.entered, w.appender.release = make(chan struct{}, 100), make(chan struct{})
	answers = make(chan answer, 100)
	return w, func(account, path, body string) {
		go func() {
			answers <- answerOf(w, httpRequest(http.MethodPost, path, body, "Authorization", "JWT "+account+":trigger"))
		}()
	}, answers
}

const anyTrigger = `{"user_id":"x","module_id":null}`

// While another account sends, one that floods is at work with no more than are left, and answered all the same.
func TestFloodTakesTurns(t *testing.T) {
	w, send, answers := crowd(t, time.Hour)
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
	close(w.appender.release)
	for range 12 {
		if a := <-answers; a.status != 200 {
			t.Errorf("answer %d %s", a.status, a.body)
		}
	}
	if w.api.turns.free != 4 || w.api.turns.inLine() != 0 {
		t.Errorf("afterwards: %+v", w.api.turns)
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
	w, send, answers := crowd(t, time.Millisecond)
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
	close(w.appender.release)
	for range 3 {
		if a := <-answers; a.status != 200 {
			t.Errorf("answer %d %s", a.status, a.body)
		}
	}
}
