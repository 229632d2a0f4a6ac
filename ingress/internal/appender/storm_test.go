package appender_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// Callers come and go while connections stall, break and are refused again and again: every promised place holds its
// record, every receipt's record lies in the log once the dust has settled, and what was refused is not there.
func TestNothingLostNothingInventedUnderFaults(t *testing.T) {
	const callers, wanted = 8, 400
	r := newRig(t, appender.Config{Timeout: 40 * time.Millisecond, StallAfter: 20 * time.Millisecond, RepeatAfter: 10 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	results := make(chan result)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				results <- <-r.call(name("account", i), name(name("u", i)+"-", j))
			}
		})
	}
	go func() { all.Wait(); close(results) }()
	var got outcomes
	faults := r.faults()
	for res := range results {
		got.add(t, res)
		faults(res.err == nil)
		if len(got.promised) == wanted {
			stop()
		}
	}
	r.proxy.Refuse(false)
	r.proxy.Release()
	if err := r.app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.checkLog(got)
	t.Logf("%d promised, %d refused, %d unknown", len(got.promised), len(got.refused), len(got.unknown))
	if len(got.refused) == 0 || len(got.unknown) == 0 {
		t.Error("the faults did no harm")
	}
}

// faults is told of every result and makes the connection sick and well in turns: sick until enough calls failed, well
// until enough succeeded.
func (r *rig) faults() func(ok bool) {
	steps := []struct {
		sick bool
		do   func()
	}{
		{true, func() { r.proxy.Hold(natstest.ToServer) }},
		{false, func() { r.proxy.CutClients() }}, // the copies come late, at the next release
		{true, func() { r.proxy.Hold(natstest.ToClient) }},
		{false, func() { r.proxy.CutClients(); r.proxy.Release() }},
		{true, func() { r.proxy.Refuse(true); r.proxy.Cut() }},
		{false, func() { r.proxy.Refuse(false) }},
		{true, func() { r.proxy.Hold() }},
		{false, func() { r.proxy.Release() }},
	}
	const turn = 12
	at, left := 0, turn
	return func(ok bool) {
		if sick := at > 0 && steps[(at-1)%len(steps)].sick; sick == ok {
			return
		}
		if left--; left > 0 {
			return
		}
		steps[at%len(steps)].do()
		at, left = at+1, turn
	}
}

// outcomes is what callers were told.
type outcomes struct{ promised, refused, unknown []result }

func (o *outcomes) add(t testing.TB, res result) {
	t.Helper()
	var unknown *appender.UnknownError
	switch {
	case res.err == nil:
		o.promised = append(o.promised, res)
	case errors.As(res.err, &unknown):
		o.unknown = append(o.unknown, res)
	default:
		checkUnavailable(t, res.err)
		o.refused = append(o.refused, res)
	}
}

// checkLog holds the log to what callers were told.
func (r *rig) checkLog(got outcomes) {
	r.t.Helper()
	all := r.entries()
	checkOrder(r.t, all)
	at, user := map[string][]record.Position{}, map[record.Position]string{}
	for _, e := range all {
		at[e.user] = append(at[e.user], e.Position)
		user[e.Position] = e.user
	}
	for _, p := range got.promised {
		if user[p.pos] != p.user {
			r.t.Errorf("%s was promised at %v, where %q lies", p.user, p.pos, user[p.pos])
		}
	}
	for _, u := range got.unknown {
		if e, err := where(all, receipt(r.t, u.err)); err != nil || e.user != u.user {
			r.t.Errorf("receipt of %s leads to %q, %v", u.user, e.user, err)
		}
	}
	for _, x := range got.refused {
		if len(at[x.user]) > 0 {
			r.t.Errorf("%s was refused and lies at %v", x.user, at[x.user])
		}
	}
	for name, places := range at {
		if len(places) > 1 {
			r.t.Errorf("%s lies at %v within the window", name, places)
		}
	}
}
