package appender_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// The servers of a cluster are killed under load, first the one that leads the log, then all: every promised place holds its record, once, every
// receipt's record lies in the log, and what was refused is not there. Repeats are short, so that a copy of a batch that is
// just being replicated is sent too; the cluster refuses that one, which must not be taken for the batch's fate.
func TestNothingLostNothingInventedWhenServersAreKilled(t *testing.T) {
	const callers, wanted = 8, 200
	c := natstest.StartCluster(t)
	r := &rig{t: t, nc: c.Connect()}
	s := broker.Settings{Partitions: 1, Replicas: 3, TriggersMaxBytes: 64 << 20, EventsMaxBytes: 64 << 20,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1, MaxPending: 1, OutcomesKeep: 1}}
	var err error
	if r.log, err = broker.Ensure(t.Context(), c.Connect(), s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.app = r.start(appender.Config{Timeout: 200 * time.Millisecond, StallAfter: 100 * time.Millisecond, RepeatAfter: time.Millisecond, RepeatMax: 100 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	results, pace := make(chan result), time.NewTicker(time.Millisecond)
	defer pace.Stop()
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				<-pace.C // a refusal comes at once
				results <- <-r.call(name("account", i), name(name("u", i)+"-", j))
			}
		})
	}
	go func() { all.Wait(); close(results) }()
	var got outcomes
	flows := func() {
		for n := len(got.promised); len(got.promised) < n+wanted; {
			got.add(t, <-results)
		}
	}
	harm := func(do func()) {
		done := make(chan struct{})
		go func() { defer close(done); do() }()
		for {
			select {
			case res := <-results:
				got.add(t, res)
			case <-done:
				return
			}
		}
	}
	flows()
	leader := c.Leader(r.log.JS, broker.TriggersStream(0))
	harm(leader.Kill)
	flows() // there is another one
	harm(func() { leader.Boot(); leader.AwaitCurrent() })
	harm(c.Kill)
	harm(c.Boot)
	flows()
	stop()
	for res := range results {
		got.add(t, res)
	}
	if err := r.app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.checkLog(got)
	t.Logf("%d promised, %d refused, %d unknown", len(got.promised), len(got.refused), len(got.unknown))
	if len(got.refused) == 0 || len(got.unknown) == 0 {
		t.Error("the kills did no harm")
	}
}
