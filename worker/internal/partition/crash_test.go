package partition

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// steps is the crash table: every step of a partition's work, and how often it may succeed before.
var steps = []struct {
	step  string
	after int
}{
	{StepReceived, 1}, {StepReceived, 3}, {StepReceived, 7},
	{StepApplied, 1}, {StepApplied, 4}, {StepApplied, 8},
	{StepEmitting, 1}, {StepEmitting, 2},
	{StepEmitted, 1}, {StepEmitted, 2},
	{StepCheckpointBegin, 1}, {StepCheckpointBegin, 2},
	{StepCheckpointWriting, 1}, {StepCheckpointWriting, 2},
	{StepCheckpointCommitted, 1}, {StepCheckpointCommitted, 2},
}

func TestCrashAtEveryStep(t *testing.T) {
	for _, c := range steps {
		t.Run(fmt.Sprintf("%s-%d", c.step, c.after), func(t *testing.T) {
			t.Parallel()
			r, file := crashOnce(t, c.step, c.after, func(r *rig) { r.fillSmall() })
			r.sameAsUninterrupted(r.start(file)) // and once more, from what draining left
		})
	}
}

// One tick that fires 20 000 redirects: its events span many messages of EVENTS, and a crash may come between any two of them.
func TestCrashWhileManyRedirectsFire(t *testing.T) {
	for _, c := range []struct {
		step  string
		after int
	}{{StepApplied, 23}, {StepEmitting, 5}, {StepEmitted, 30}, {StepEmitted, 50}, {StepCheckpointWriting, 1}, {StepCheckpointCommitted, 1}} {
		t.Run(fmt.Sprintf("%s-%d", c.step, c.after), func(t *testing.T) {
			t.Parallel()
			crashOnce(t, c.step, c.after, func(r *rig) { r.fillRedirects(20_000) })
		})
	}
}

// Nothing may be lost that was appended while no partition ran at all.
func TestAppendedBeforeAnyStart(t *testing.T) {
	r := newRig(t)
	last := r.fillSmall()
	x := r.start(r.file())
	x.reach(last)
	r.sameAsUninterrupted(x)
}

// crashOnce fills the log, lets a partition crash, starts it again and compares.
func crashOnce(t *testing.T, step string, after int, fill func(*rig)) (r *rig, file string) {
	r = newRig(t)
	file = r.file()
	fill(r)
	small := func(c *Config, _ *Deps) { // so that each step is taken several times
		c.CheckpointEvery, c.CheckpointUsers = time.Millisecond, 3
	}
	x := r.start(file, small, crashAt(step, after))
	if err := x.awaitCrash(r); !errors.Is(err, errCrash) {
		t.Fatalf("run returned %v, not the crash", err)
	}
	x = r.start(file, small)
	r.sameAsUninterrupted(x)
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	return r, file
}

// awaitCrash keeps the log moving until the partition has crashed: a step may need more than what is there.
func (x *run) awaitCrash(r *rig) error {
	for i := 0; ; i++ {
		select {
		case <-x.done:
			return x.err
		case <-time.After(20 * time.Millisecond):
			if i > 500 {
				x.t.Fatal("no crash")
			}
			r.append(trigger("user-1", i, 0))
		}
	}
}

// fillSmall is a log with everything in it: delays, a deletion, an unknown user, a late copy, poison.
func (r *rig) fillSmall() uint64 {
	r.append(users(5)...)
	r.append(trigger("user-0", 1, 0), trigger("user-1", 2, 50), trigger("nobody", 3, 0))
	r.append(trigger("user-2", 4, 60_000_000), trigger("user-2", 5, 1))
	r.append(record.Record{Kind: record.Delete, Account: []byte(account), User: []byte("user-2")})
	r.append(trigger("user-3", 6, 1))
	r.number-- // a late copy with other contents
	r.append(trigger("user-3", 7, 0))
	return r.append(trigger("user-4", 8, 0), trigger("user-4", 9, 20))
}

// fillRedirects schedules n redirects for one moment of stream time, and ticks past it once.
func (r *rig) fillRedirects(n int) uint64 {
	const perUser = 100
	r.clock = time.Now().UnixMilli()
	r.append(users(n / perUser)...)
	var batch []record.Record
	for i := range n {
		batch = append(batch, trigger(fmt.Sprintf("user-%d", i/perUser), i, 1000))
		if len(batch) == 1000 {
			r.append(batch...)
			batch = batch[:0]
		}
	}
	natstest.Eventually(r.t, func() bool { return time.Now().UnixMilli() > r.clock+1000 }, "the redirects are due")
	r.clock += 1000
	return r.append(record.Record{Kind: record.Tick})
}
