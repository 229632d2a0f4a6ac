package admission

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

// question is one request that the owner has got; the test answers it, or lets it rot.
type question struct {
	p      int
	req    statequery.Request
	answer chan answer
}

type answer struct {
	reply statequery.Reply
	err   error
}

// knows answers with the users that exist; final as a patient request's answer is.
func (q question) knows(users ...string) {
	known := make([]bool, len(q.req.Check))
	for i, u := range q.req.Check {
		known[i] = slices.Contains(users, u.User)
	}
	if q.req.WaitMillis == 0 && slices.Contains(known, false) {
		q.answer <- answer{statequery.Reply{Known: known, Error: statequery.WordBehind}, statequery.ErrBehind}
		return
	}
	q.answer <- answer{statequery.Reply{Known: known}, nil}
}

func (q question) fails(err error) { q.answer <- answer{err: err} }

func (q question) users() (names []string) {
	for _, u := range q.req.Check {
		names = append(names, u.User)
	}
	return names
}

// owner stands for all partitions' owners.
type owner struct {
	t            *testing.T
	asked        chan question
	slowToGiveUp time.Duration
}

func (o *owner) Ask(ctx context.Context, p int, req statequery.Request) (statequery.Reply, error) {
	if _, err := statequery.EncodeRequest(req); err != nil {
		o.t.Errorf("request that cannot be sent: %v", err)
	}
	q := question{p, req, make(chan answer, 1)}
	o.asked <- q
	select {
	case a := <-q.answer:
		return a.reply, a.err
	case <-ctx.Done():
		pass(o.slowToGiveUp)
		return statequery.Reply{}, fmt.Errorf("%w: %w", statequery.ErrSilent, ctx.Err())
	}
}

// next is the question that has been asked by the time that everything has come to rest; the test fails if there is not exactly one.
func (o *owner) next() question {
	o.t.Helper()
	synctest.Wait()
	if len(o.asked) != 1 {
		o.t.Fatalf("%d questions at the owner, want 1", len(o.asked))
	}
	return <-o.asked
}

func (o *owner) notAsked() {
	o.t.Helper()
	synctest.Wait()
	if len(o.asked) != 0 {
		o.t.Fatalf("owner was asked for %v", (<-o.asked).users())
	}
}

// bubble runs test on a clock that only moves when all are waiting.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, a *Admission, o *owner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Partitions = 2
		o := &owner{t: t, asked: make(chan question, 100)}
		a, err := New(cfg, Deps{Asker: o})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		test(t, a, o)
	})
}

// asking is a call of User under way.
type asking struct {
	verdict chan Verdict
	started time.Time
	ended   time.Time // readable once verdict is closed
}

func ask(ctx context.Context, a *Admission, user string) *asking {
	c := &asking{verdict: make(chan Verdict, 1), started: time.Now()}
	go func() {
		v := a.User(ctx, 1, "demo", user)
		c.ended = time.Now()
		c.verdict <- v
	}()
	return c
}

func askMany(t *testing.T, a *Admission, prefix string, n int) (all []*asking) {
	for i := range n {
		all = append(all, ask(t.Context(), a, fmt.Sprint(prefix, i)))
	}
	return all
}

func (c *asking) want(t *testing.T, want Verdict) {
	t.Helper()
	if got := <-c.verdict; got != want {
		t.Fatalf("verdict %v, want %v", got, want)
	}
}

// pass lets the bubble's clock run.
func pass(d time.Duration) { <-time.After(d) }
