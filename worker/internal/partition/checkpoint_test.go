package partition

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// A full disk: checkpoints fail and are tried again, applying pauses before memory is full too, readiness says
// what is wrong; with room again, nothing is missing.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	file := r.file()
	value := []byte(`"` + strings.Repeat("x", 200_000) + `"`)
	for i := range 130 { // more than the file and two generations of the overlay can hold
		user := fmt.Sprintf("user-%d", i)
		fat := register(user)
		fat.Vars = []record.Var{{Name: []byte("fat"), Value: value}}
		r.append(fat)
	}
	last := r.last()
	tight := func(c *Config, _ *Deps) {
		c.FileBytes, c.CheckpointBytes, c.DrainTimeout = 16<<20, 4<<20, 100*time.Millisecond
	}
	x := r.start(file, tight)
	natstest.Eventually(t, func() bool {
		_, err := x.Check()
		return err != nil && strings.Contains(err.Error(), "commit checkpoint")
	}, "readiness shows the failure")
	failures := x.deps.Metrics.commitFailures.WithLabelValues("0")
	natstest.Eventually(t, func() bool { return testutil.ToFloat64(failures) >= 4 }, "it is tried again") // takes longer than applying all
	if s := x.Status(); s.Applied >= last || s.OldestSeconds == 0 || s.CheckpointAge == 0 {
		t.Errorf("applying did not pause, or does not show it: %+v", s)
	}
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	x = r.start(file)
	x.reach(last)
	r.sameAsUninterrupted(x)
}

// turns is a lock that can say whether it is held.
type turns struct {
	sync.Mutex
	held atomic.Bool
	many atomic.Int64 // times that it was taken
}

func (l *turns) Lock()   { l.Mutex.Lock(); l.held.Store(true); l.many.Add(1) }
func (l *turns) Unlock() { l.held.Store(false); l.Mutex.Unlock() }

// A checkpoint is written while no other partition of the process writes one, and is not written before it is this one's turn; meanwhile the partition
// goes on applying.
func TestCheckpointsTakeTurns(t *testing.T) {
	r := newRig(t)
	var disk turns
	var alone atomic.Bool
	alone.Store(true)
	disk.Lock() // somebody else writes
	x := r.start(r.file(), func(c *Config, d *Deps) {
		c.CheckpointEvery = time.Millisecond
		d.Disk = &disk
		d.Failpoint = func(step string) error {
			if step == StepCheckpointWriting && !disk.held.Load() {
				alone.Store(false)
			}
			return nil
		}
	}).serving()
	r.append(users(2)...)
	r.append(trigger("user-0", 1, 0))
	x.reach(r.last())
	if s := x.Status(); s.CheckpointSeq != 0 {
		t.Errorf("a checkpoint at %d was written while somebody else wrote", s.CheckpointSeq)
	}
	disk.Unlock()
	natstest.Eventually(t, func() bool { s := x.Status(); return s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
	if !alone.Load() || disk.many.Load() < 2 {
		t.Errorf("written without the lock: %t, which was taken %d times", !alone.Load(), disk.many.Load())
	}
}
