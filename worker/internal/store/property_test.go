package store

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// subject is a machine over a Store, and what it did.
type subject struct {
	*machine.Machine
	store  *Store
	events []string
}

// model is the same over plain memory, never interrupted. Its slices have an element for each number of messages applied.
type model struct {
	stores  []*machinetest.Memory
	heads   []machine.Head
	digests []uint64 // by a Store that is never committed
	events  []string // all of the log
}

// run is one log, applied by both, in some rhythm of checkpoints and crashes.
type run struct {
	*rapid.T
	path    string
	log     []machine.Message
	model   model
	subject subject
	fails   bool // the next commit
}

func (r *run) options() Options {
	opts := testOptions()
	opts.CacheBytes = rapid.SampledFrom([]int64{-1, 300, 1 << 20}).Draw(r.T, "cache")
	opts.Failpoint = func(string) error {
		if r.fails {
			return fmt.Errorf("the failpoint says so")
		}
		return nil
	}
	return opts
}

// open starts from the last checkpoint in the file, as after a crash.
func (r *run) open() {
	r.subject.store = mustOpen(r.T, r.path, r.options())
	r.subject.store.sched.window.size = rapid.IntRange(1, 3).Draw(r.T, "window")
	last, ok := r.subject.store.Last()
	if !ok && last.Head.Applied != 0 {
		r.Fatalf("a file without a checkpoint has head %+v", last.Head)
	}
	r.subject.Machine = machine.New(7, last.Head, r.subject.store)
	r.subject.events = slices.Clone(r.model.events[:last.Head.Events])
}

func (r *run) crash() {
	check(r.T, r.subject.store)
	mustClose(r.T, r.subject.store)
	r.open()
}

func apply(t rapid.TB, m *machine.Machine, msg machine.Message, events *[]string) {
	t.Helper()
	_, err := m.Apply(msg, func(e *machine.Event) {
		*events = append(*events, fmt.Sprintf("%d %s", e.Number, e.AppendJSON(nil)))
	})
	if err != nil {
		t.Fatalf("apply message %d: %v", msg.Seq, err)
	}
}

// steps of the subject; more often what makes progress.
var steps = []string{"apply", "apply", "apply", "apply", "freeze", "commit", "fail", "release", "checkpoint", "crash", "compare"}

func (r *run) step() {
	switch rapid.SampledFrom(steps).Draw(r.T, "step") {
	case "apply":
		r.apply()
	case "freeze":
		r.freeze()
	case "commit":
		r.freeze()
		r.commit(false)
	case "fail":
		r.commit(true)
	case "release":
		r.release()
	case "checkpoint":
		r.freeze()
		r.commit(false)
		r.release()
	case "crash":
		r.crash()
	case "compare":
		r.compare()
	}
}

func (r *run) freeze() {
	if s := r.subject.store; s.frozen == nil {
		s.Freeze(checkpointAt(r.subject.Head()))
	}
}

func (r *run) release() {
	if s := r.subject.store; s.frozen != nil && s.frozen.committed.Load() {
		s.Release()
	}
}

func (r *run) commit(fails bool) {
	s := r.subject.store
	if s.frozen == nil {
		return
	}
	done := s.frozen.committed.Load()
	r.fails = fails
	defer func() { r.fails = false }()
	if err := s.Commit(); (err != nil) != (fails && !done) {
		r.Fatalf("commit: %v", err)
	}
}

func (r *run) apply() {
	next := r.subject.Head().Applied
	if next < uint64(len(r.log)) {
		apply(r.T, r.subject.Machine, r.log[next], &r.subject.events)
		r.compareDigest()
	}
}

func (r *run) compareDigest() {
	head := r.subject.Head()
	got, err := r.subject.store.Digest(head)
	if err != nil {
		r.Fatalf("digest: %v", err)
	}
	if want := r.model.digests[head.Applied]; got != want {
		r.Fatalf("digest after message %d: got %x, want %x", head.Applied, got, want)
	}
}

func newModel(t rapid.TB, log []machine.Message, never *Store) model {
	var m model
	store := machinetest.NewMemory()
	plain, over := machine.New(7, machine.Head{}, store), machine.New(7, machine.Head{}, never)
	note := func() {
		digest, err := never.Digest(over.Head())
		if err != nil {
			t.Fatal(err)
		}
		m.stores, m.heads, m.digests = append(m.stores, store.Clone()), append(m.heads, plain.Head()), append(m.digests, digest)
	}
	note()
	for _, msg := range log {
		apply(t, plain, msg, &m.events)
		apply(t, over, msg, new([]string))
		note()
	}
	return m
}

// The same log makes the same state, outcomes and events, whenever checkpoints are made, fail or are
// released, and wherever the process dies.
func TestAnyRhythmOfCheckpointsAndCrashes(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		r := &run{T: t, path: pathIn(dir, &n), log: machinetest.Log(t)}
		defer os.Remove(r.path)
		never := mustOpen(t, pathIn(dir, &n), testOptions())
		r.model = newModel(t, r.log, never)
		mustClose(t, never)
		r.open()
		defer func() { mustClose(t, r.subject.store) }()
		for range rapid.IntRange(len(r.log), 3*len(r.log)).Draw(t, "steps") {
			r.step()
		}
		for r.subject.Head().Applied < uint64(len(r.log)) {
			r.apply()
		}
		r.compare()
		r.commit(false)
		r.release()
		mustCommit(t, r.subject.store, r.subject.Head())
		r.crash()
		r.compare()
	})
}

// compare looks at everything, also in the way in which a machine and queries do.
func (r *run) compare() {
	r.Helper()
	head := r.subject.Head()
	at, memory := head.Applied, r.model.stores[head.Applied]
	want := machinetest.DumpHead(r.model.heads[at]) + memory.Dump()
	got := machinetest.DumpHead(head) + content(r.T, r.subject.store).Dump()
	if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
		r.Fatalf("state differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(r.model.events[:head.Events], r.subject.events, cmpopts.EquateEmpty()); diff != "" {
		r.Fatalf("events differ (-want +got):\n%s", diff)
	}
	r.compareDigest()
	compareReads(r.T, r.log[:at], memory, r.subject.store)
}
