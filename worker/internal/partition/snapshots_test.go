package partition

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
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

// A log that grew full while nobody applied it takes nothing that would make a further snapshot due. It must let go of what is applied by itself.
func TestFullLogFreesItself(t *testing.T) {
	r := &rig{t: t, srv: natstest.Start(t, natstest.Lazy())}
	var err error
	r.broker, err = broker.Ensure(r.ctx(), r.srv.ConnectTo(r.srv.URL()), broker.Settings{Partitions: 1, TriggersMaxBytes: broker.MaxMessageBytes,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	file, rarely := r.file(), func(c *Config, _ *Deps) { c.SnapshotEvery, c.SnapshotLogBytes = time.Hour, 1<<40 }
	r.append(users(20)...)
	x := r.start(file, rarely)
	natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq > 0 }, "the first one is made")
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("x"), 64<<10)
	fill := func() error {
		_, err := r.broker.JS.PublishMsg(r.ctx(), &nats.Msg{Subject: broker.TriggersSubject(0), Data: payload}) // a dead letter
		return err
	}
	for err == nil {
		err = fill()
	}
	if !strings.Contains(err.Error(), "maximum bytes") {
		t.Fatal(err)
	}
	x = r.start(file, rarely)
	natstest.Eventually(t, func() bool { return fill() == nil }, "the log takes records again")
	if entries, err := x.shelf.List(r.ctx()); err != nil || len(entries) != snapshot.Kept || entries[1].Seq < r.first() {
		t.Errorf("kept are %+v, %v, the log begins at %d", entries, err, r.first())
	}
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
