package partition

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// keeping makes snapshots whenever there is something for one.
func keeping(c *Config, _ *Deps) { c.SnapshotEvery = time.Millisecond }

// The owner makes snapshots by itself and trims the log behind the older of two; a standby does not.
func TestSnapshotsByTime(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	witness := r.standby(r.file(), keeping)
	x := r.start(r.file(), keeping)
	round := func() {
		r.burst(5)
		x.reach(r.last())
		last := x.Status().Applied
		natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq >= last }, "a snapshot is made")
	}
	round()
	natstest.Eventually(t, func() bool { s := witness.Status(); return s.CheckpointSeq == s.Applied }, "the standby could make one")
	for range 3 {
		round()
	}
	natstest.Eventually(t, func() bool {
		entries, err := x.shelf.List(r.ctx())
		if err != nil || len(entries) != 2 {
			t.Fatalf("kept are %v, %v", entries, err)
		}
		f := x.view.read()
		return r.first() == entries[1].Seq && f.snapshots == 2 && f.snapshot.Seq == entries[0].Seq && f.trimmed == entries[1].Seq
	}, "the log is trimmed to the older one, and that is shown")
	if f := witness.view.read(); f.snapshots != 0 || f.trimmed != 0 {
		t.Errorf("the standby shows %d snapshots, trimmed to %d", f.snapshots, f.trimmed)
	}
	r.same(x, witness)
}

// A first snapshot is made at once, the next one when enough was applied, however early.
func TestSnapshotsByVolume(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	x := r.start(r.file(), func(c *Config, _ *Deps) { c.SnapshotEvery, c.SnapshotLogBytes = time.Hour, 20_000 })
	natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq > 0 }, "the first one is made")
	first := x.Status().SnapshotSeq
	r.append(trigger("user-1", 1, 0))
	x.reach(r.last())
	natstest.Eventually(t, func() bool { s := x.Status(); return s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
	if s := x.Status(); s.SnapshotSeq != first {
		t.Errorf("another one was made at %d", s.SnapshotSeq)
	}
	natstest.Eventually(t, func() bool {
		r.burst(20)
		return x.Status().SnapshotSeq > first
	}, "the next one is made")
}

// When there was none, or it was made by others, is in the pointer: a restart does not begin the interval anew, nor make one at once.
func TestRestartKeepsTheRhythm(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	file := r.file()
	hourly := func(c *Config, _ *Deps) { c.SnapshotEvery = time.Hour }
	x := r.start(file, hourly)
	natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq > 0 }, "the first one is made")
	first := x.Status().SnapshotSeq
	r.burst(5)
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	x = r.start(file, hourly)
	natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq > 0 }, "it is known")
	if seq := x.Status().SnapshotSeq; seq != first {
		t.Errorf("the restart made one of %d", seq)
	}
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	later := func(_ *Config, d *Deps) { d.Now = func() time.Time { return time.Now().Add(time.Hour) } }
	x = r.start(file, hourly, later)
	natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq > first }, "it is time")
}

// Draining does not wait for a snapshot that takes its time, and leaves nothing of it.
func TestDrainingAbortsASnapshot(t *testing.T) {
	r := newRig(t)
	r.append(users(200)...)
	file := r.file()
	uploading := make(chan struct{})
	x := r.start(file, keeping, func(_ *Config, d *Deps) {
		var once bool
		d.Shelves = snapshot.New(snapshot.Config{Rate: 1, ChunkBytes: 100}, snapshot.Deps{Broker: r.broker, Logger: d.Logger, Failpoint: func(step string) error {
			if step == snapshot.StepUpload && !once {
				once = true
				close(uploading)
			}
			return nil
		}})
	})
	<-uploading
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	if s := x.Status(); s.CheckpointSeq != s.Applied || s.Applied == 0 {
		t.Errorf("it was not drained: %+v", s)
	}
	if entries, err := x.shelf.List(r.ctx()); len(entries) != 0 || err != nil {
		t.Errorf("there are %v, %v", entries, err)
	}
	if _, err := os.Stat(file + ".copy"); err == nil {
		t.Error("the copy is left")
	}
}

// The crash table of snapshots: at each step the process dies and its disk is lost; another one has the same state, and goes on trimming.
func TestCrashAtEveryStepOfASnapshot(t *testing.T) {
	for _, step := range snapshot.Steps() {
		for _, nth := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s-%d", step, nth), func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.append(users(20)...)
				witness := r.standby(r.file())
				crash := crashAt(step, nth)
				x := r.start(r.file(), keeping, func(c *Config, d *Deps) {
					crash(c, d)
					d.Shelves = snapshot.New(snapshot.Config{ChunkBytes: 1000}, snapshot.Deps{Broker: r.broker, Logger: d.Logger, Failpoint: d.Failpoint})
					d.Failpoint = nil
				})
				if err := x.awaitCrash(r); err == nil {
					t.Fatal("it did not crash")
				}
				y := r.start(r.file(), keeping)
				r.same(y, witness)
				r.burst(5)
				r.same(y, witness)
				natstest.Eventually(t, func() bool {
					r.burst(1) // something for another snapshot
					return r.first() > 1
				}, "the log is trimmed")
			})
		}
	}
}

// Two owners at once, both of whom make snapshots and trim, are harmless.
func TestTwoKeepers(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	witness := r.standby(r.file())
	one, two := r.start(r.file(), keeping), r.start(r.file(), keeping)
	for range 10 {
		r.burst(5)
		one.reach(r.last())
		two.reach(r.last())
	}
	r.same(one, witness)
	r.same(two, witness)
	three := r.start(r.file())
	r.same(three, witness)
}
