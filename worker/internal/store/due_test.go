package store

import (
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// dueRun does the same to a Store and to the model.
type dueRun struct {
	*rapid.T
	got  *Store
	want *machinetest.Memory
	seq  uint64
	live []machine.Due
}

func (r *dueRun) put() {
	r.seq++
	d := machine.Due{At: rapid.Int64Range(-2, 40).Draw(r.T, "at"), Position: record.Position{Seq: r.seq, Index: uint32(r.seq % 3)}}
	user := fmt.Appendf(nil, "user%d", r.seq%5)
	r.got.PutDue(d, []byte("acme"), user)
	r.want.PutDue(d, []byte("acme"), user)
	r.live = append(r.live, d)
}

// remove cancels any entry.
func (r *dueRun) remove() {
	if len(r.live) == 0 {
		return
	}
	i := rapid.IntRange(0, len(r.live)-1).Draw(r.T, "which")
	r.delete(r.live[i])
}

// fire deletes the earliest entries.
func (r *dueRun) fire() {
	for range rapid.IntRange(1, 6).Draw(r.T, "fired") {
		d, _, _, ok, err := r.got.NextDue()
		if err != nil {
			r.Fatal(err)
		}
		if !ok {
			return
		}
		r.compare()
		r.delete(d)
	}
}

func (r *dueRun) delete(d machine.Due) {
	r.got.DeleteDue(d)
	r.want.DeleteDue(d)
	for i := range r.live {
		if r.live[i] == d {
			r.live = append(r.live[:i], r.live[i+1:]...)
			return
		}
	}
	r.Fatalf("%+v is not there", d)
}

func (r *dueRun) compare() {
	compareAnswers(r.T, "next due", nextDue(r.want), nextDue(r.got))
	if len(r.live) > 0 {
		p := r.live[len(r.live)/2].Position
		compareAnswers(r.T, "due of "+machinetest.Pos(p), dueOf(r.want, p), dueOf(r.got, p))
	}
}

func (r *dueRun) checkpoint(step string) {
	s := r.got
	switch {
	case step == "freeze" && s.frozen == nil:
		s.Freeze(checkpointAt(machine.Head{Applied: r.seq}))
	case step == "checkpoint" && s.frozen == nil:
		mustCommit(r.T, s, machine.Head{Applied: r.seq})
	case step == "commit" && s.frozen != nil:
		if err := s.Commit(); err != nil {
			r.Fatal(err)
		}
	case step == "release" && s.frozen != nil && s.frozen.committed.Load():
		s.Release()
	}
}

func TestNextDueAgainstModel(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		path := pathIn(dir, &n)
		defer os.Remove(path)
		r := &dueRun{T: t, got: mustOpen(t, path, testOptions()), want: machinetest.NewMemory()}
		defer mustClose(t, r.got)
		r.got.sched.window.size = rapid.IntRange(1, 6).Draw(t, "window")
		for range rapid.IntRange(30, 100).Draw(t, "steps") {
			switch step := rapid.SampledFrom([]string{"put", "remove", "fire", "freeze", "commit", "release", "checkpoint"}).Draw(t, "step"); step {
			case "put":
				for range rapid.IntRange(1, 6).Draw(t, "put") {
					r.put()
				}
			case "remove":
				r.remove()
			case "fire":
				r.fire()
			default:
				r.checkpoint(step)
			}
			if rapid.Bool().Draw(t, "asked") {
				r.compare()
			}
		}
		for len(r.live) > 0 {
			r.fire()
		}
		r.compare()
	})
}

// Firing reads each part of the file's due index once, whatever its length: entries that were fired are not
// walked over again, also not after a checkpoint.
func TestFiringReadsTheFileOnce(t *testing.T) {
	s := openTemp(t, testOptions())
	const count = 20_000
	for n := range count {
		s.PutDue(machine.Due{At: int64(n), Position: record.Position{Seq: uint64(n + 1)}}, []byte("acme"), []byte("ann"))
	}
	mustCommit(t, s, machine.Head{Applied: 1})
	for n := range count {
		d, _, _, ok, err := s.NextDue()
		if err != nil || !ok || d.At != int64(n) {
			t.Fatal(n, d, ok, err)
		}
		s.DeleteDue(d)
		if n == count/2 { // what has fired is frozen, then still in the file while more fires
			s.Freeze(checkpointAt(machine.Head{Applied: 2}))
		}
		if n == count*3/4 {
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
			s.Release()
		}
	}
	if got, most := s.sched.window.loads, count/defaultWindow+3; got > most {
		t.Errorf("read %d parts of the due index, want at most %d", got, most)
	}
}
