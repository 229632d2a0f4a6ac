package partition

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// Writing rests three quarters of its time, and not at all in a hurry.
func TestPacer(t *testing.T) {
	var now time.Time
	var rested time.Duration
	p := newPacer()
	p.now = func() time.Time { return now }
	p.sleep = func(d time.Duration) { rested += d; now = now.Add(d) }
	write := func(entries int) (worked time.Duration) {
		rested = 0
		p.begin()
		for range entries {
			p.breathe()
			now = now.Add(4 * time.Microsecond)
			worked += 4 * time.Microsecond
		}
		return worked
	}
	if worked := write(50_000); rested < 2*worked || rested > 3*worked {
		t.Errorf("rested %v beside %v of work", rested, worked)
	}
	if write(100); rested != 0 {
		t.Errorf("a small one rested %v", rested)
	}
	p.hurried.Store(true)
	if write(50_000); rested != 0 {
		t.Errorf("in a hurry it rested %v", rested)
	}
}

func TestUrgent(t *testing.T) {
	c := Config{CheckpointUsers: 10, CheckpointBytes: 100}
	for _, test := range []struct {
		users int
		bytes int64
		want  bool
	}{{0, 0, false}, {4, 49, false}, {5, 0, true}, {0, 50, true}, {100, 1000, true}} {
		if got := c.urgent(test.users, test.bytes); got != test.want {
			t.Errorf("%d users, %d bytes: %v", test.users, test.bytes, got)
		}
	}
}

// dirty is an actor that nobody runs, with users to write and a clock on which every look takes long.
func dirty(t *testing.T, users int) (a *actor, rests *int) {
	t.Helper()
	r := newRig(t)
	a, rests = newActor(r.make(r.file(), []func(*Config, *Deps){func(c *Config, _ *Deps) { c.CheckpointUsers = 200 }})), new(int)
	t.Cleanup(a.shut)
	if err := a.openStore(); err != nil {
		t.Fatal(err)
	}
	for i := range users {
		a.store.PutUser([]byte(account), fmt.Appendf(nil, "user-%d", i), &machine.User{Version: 1})
	}
	var now time.Time
	a.pacer.now = func() time.Time { now = now.Add(paceWork); return now }
	a.pacer.sleep = func(time.Duration) { *rests++ }
	return a, rests
}

// The writing of a checkpoint rests after each handful of entries, and not if the next one is half due, or the partition drains or is shut.
func TestCheckpointRestsUnlessHurried(t *testing.T) {
	const many, few = 100, 99 // of 200 users
	write := func(a *actor) {
		t.Helper()
		a.store.Freeze(store.Checkpoint{Identity: store.Identity{LogID: a.deps.Broker.LogID(0), Seq: 1}})
		if err := a.write(); err != nil {
			t.Fatal(err)
		}
	}
	a, rests := dirty(t, many)
	if write(a); *rests != many/paceEntries {
		t.Errorf("%d rests in %d entries", *rests, many)
	}
	a, rests = dirty(t, many)
	a.pacer.hurried.Store(true)
	if write(a); *rests != 0 {
		t.Errorf("%d rests in a hurry", *rests)
	}
	for _, test := range []struct {
		name  string
		users int
		do    func(a *actor)
		want  bool
	}{
		{"the next one is far", few, func(a *actor) { a.checkpoint(time.Now()) }, false},
		{"the next one is half due", many, func(a *actor) { a.checkpoint(time.Now()) }, true},
		{"draining", few, func(a *actor) {
			done, cancel := context.WithCancel(t.Context())
			cancel()
			if err := a.drainStep(done); err != nil {
				t.Error(err)
			}
		}, true},
		{"shut", few, func(a *actor) { a.shut() }, true},
	} {
		a, _ := dirty(t, test.users)
		a.generation = &generation{running: true}
		if test.do(a); a.pacer.hurried.Load() != test.want {
			t.Errorf("%s: hurried is %v", test.name, !test.want)
		}
	}
}
