package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// bigUser has a variable of some size.
func bigUser(n, size int) *machine.User {
	value := fmt.Appendf(nil, `"%0*d"`, size, n)
	return &machine.User{Version: uint64(n), Vars: []machine.Var{{Name: "v", Value: value}}, VarBytes: int64(1 + len(value))}
}

func putBig(s *Store, count, n, size int) {
	for i := range count {
		s.PutUser([]byte("acme"), fmt.Appendf(nil, "user%05d", i), bigUser(n, size))
	}
}

func fileSize(t *testing.T, s *Store) (size int64) {
	t.Helper()
	if err := s.file.db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	return size
}

// A commit that finds no room leaves the file at its last checkpoint and the generation in memory; with room it succeeds.
func TestDiskFull(t *testing.T) {
	opts := testOptions()
	opts.MaxSize = 1 << 20
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, opts)
	putBig(s, 100, 1, 100)
	mustCommit(t, s, machine.Head{Applied: 1})
	putBig(s, 1000, 2, 2000)
	s.Freeze(checkpointAt(machine.Head{Applied: 2}))
	for range 3 {
		if err := s.Commit(); !errors.Is(err, ErrFull) {
			t.Fatalf("commit: %v", err)
		}
		if u, err := s.User([]byte("acme"), []byte("user00999")); err != nil || u == nil || u.Version != 2 {
			t.Fatalf("what could not be committed reads as %+v, %v", u, err)
		}
	}
	check(t, s)
	before := content(t, s).Dump()
	s.file.db.MaxSize = 0
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Release()
	if diff := cmp.Diff(lines(before), lines(content(t, s).Dump())); diff != "" {
		t.Errorf("lost or changed:\n%s", diff)
	}
	check(t, s)
	mustClose(t, s)
}

func TestDiskFullThenCrash(t *testing.T) {
	opts := testOptions()
	opts.MaxSize = 1 << 20
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, opts)
	putBig(s, 100, 1, 100)
	mustCommit(t, s, machine.Head{Applied: 1})
	want := content(t, s).Dump()
	putBig(s, 1000, 2, 2000)
	s.Freeze(checkpointAt(machine.Head{Applied: 2}))
	if err := s.Commit(); !errors.Is(err, ErrFull) {
		t.Fatalf("commit: %v", err)
	}
	mustClose(t, s)
	s = mustOpen(t, path, opts)
	defer mustClose(t, s)
	if c, _ := s.Last(); c.Seq != 1 || content(t, s).Dump() != want {
		t.Errorf("the file is not at its last checkpoint but at %d", c.Seq)
	}
	check(t, s)
}

// bbolt waits for all readers before it maps a larger file: a commit must not wait for a goroutine that
// has read once and now does something else.
func TestCommitGrowsTheFileWhileNobodyReads(t *testing.T) {
	s := openTemp(t, testOptions())
	putBig(s, 10, 1, 10)
	mustCommit(t, s, machine.Head{Applied: 1})
	if _, err := s.User([]byte("acme"), []byte("user nobody has")); err != nil { // leaves its transaction open
		t.Fatal(err)
	}
	putBig(s, 2000, 2, 2000)
	mustCommit(t, s, machine.Head{Applied: 2})
}

// The same while the commit is in progress: the read happens when the transaction has begun.
func TestCommitGrowsTheFileAfterARead(t *testing.T) {
	opts := testOptions()
	var s *Store
	opts.Failpoint = func(string) error { // all is put, and nothing is allocated yet
		_, err := s.User([]byte("acme"), []byte("user nobody has"))
		return err
	}
	s = openTemp(t, opts)
	putBig(s, 2000, 2, 2000)
	mustCommit(t, s, machine.Head{Applied: 2})
}

// The pages of a dropped hour are used again: the file stops growing although outcomes keep coming.
func TestDroppedHoursFreePages(t *testing.T) {
	s := openTemp(t, testOptions())
	var settled int64
	for hour := range int64(24) {
		for n := range uint64(500) {
			seq := uint64(hour)*1000 + n + 1
			out := machine.Outcome{Position: record.Position{Seq: seq}, Kind: record.Trigger, Status: machine.Applied, Account: "acme", User: fmt.Sprintf("user%0200d", n)}
			s.PutOutcomes(hour, seq, []machine.Outcome{out})
			s.PutBatch(hour, "writer", seq, seq)
		}
		s.DropHours(hour - 1)
		mustCommit(t, s, machine.Head{Applied: uint64(hour + 1)})
		if hour == 6 {
			settled = fileSize(t, s)
		}
	}
	if got := fileSize(t, s); got > settled {
		t.Errorf("the file grew from %d to %d bytes", settled, got)
	}
	if _, ok, err := s.Outcome(record.Position{Seq: 5}); ok || err != nil {
		t.Errorf("a dropped outcome: %t, %v", ok, err)
	}
	if _, ok, err := s.Batch("writer", 22_001); !ok || err != nil {
		t.Errorf("a kept batch: %t, %v", ok, err)
	}
}

// An hour that is dropped is gone at once, in whichever layer it is.
func TestDroppedHoursAreGoneInAllLayers(t *testing.T) {
	s := openTemp(t, testOptions())
	put := func(hour int64, seq uint64) {
		s.PutOutcomes(hour, seq, []machine.Outcome{{Position: record.Position{Seq: seq}, Account: "acme", User: "ann"}})
		s.PutBatch(hour, "writer", seq, seq)
	}
	put(1, 1)
	mustCommit(t, s, machine.Head{Applied: 1})
	put(2, 2)
	s.Freeze(checkpointAt(machine.Head{Applied: 2}))
	put(3, 3)
	want := func(step string, present ...bool) {
		t.Helper()
		for i, want := range present {
			_, out, err := s.Outcome(record.Position{Seq: uint64(i + 1)})
			_, batch, err2 := s.Batch("writer", uint64(i+1))
			if out != want || batch != want || err != nil || err2 != nil {
				t.Errorf("%s: hour %d: outcome %t, batch %t, want %t; %v, %v", step, i+1, out, batch, want, err, err2)
			}
		}
	}
	want("all kept", true, true, true)
	s.DropHours(2)
	want("first dropped", false, true, true)
	s.DropHours(3)
	want("second dropped", false, false, true)
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Release()
	want("after the commit of what was dropped since", false, false, true)
	s.DropHours(4)
	want("all dropped", false, false, false)
	mustCommit(t, s, machine.Head{Applied: 3})
	want("all dropped and committed", false, false, false)
}

// Commits run beside reads and writes. For the race detector, and for the model.
func TestCommitBesideReadsAndWrites(t *testing.T) {
	s, want := openTemp(t, testOptions()), machinetest.NewMemory()
	both := []machine.Store{s, want}
	var done chan error
	for n := range 6000 {
		user, seq := fmt.Appendf(nil, "user%03d", n*7%500), uint64(n+1)
		p := record.Position{Seq: seq}
		for _, st := range both {
			st.PutUser([]byte("acme"), user, bigUser(n, 100))
			st.PutDue(machine.Due{At: int64(n / 2), Position: p}, []byte("acme"), user)
			st.PutOutcomes(int64(n/2000), seq, []machine.Outcome{{Position: p, Account: "acme", User: string(user)}})
			st.PutBatch(int64(n/2000), "writer", seq, seq)
			st.DropHours(int64(n/2000) - 1)
		}
		fireOne(t, both, n)
		compareAt(t, both, n)
		done = rotate(t, s, done, seq)
	}
	if done != nil {
		finish(t, s, <-done)
	}
	if diff := cmp.Diff(lines(want.Dump()), lines(content(t, s).Dump())); diff != "" {
		t.Errorf("state differs:\n%s", diff)
	}
}

// rotate starts a commit if none runs, and releases one that has finished.
func rotate(t *testing.T, s *Store, done chan error, seq uint64) chan error {
	t.Helper()
	if done == nil {
		s.Freeze(checkpointAt(machine.Head{Applied: seq}))
		done = make(chan error, 1)
		go func() { done <- s.Commit() }()
		return done
	}
	select {
	case err := <-done:
		finish(t, s, err)
		return nil
	default:
		return done
	}
}

func finish(t *testing.T, s *Store, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
}

func fireOne(t *testing.T, both []machine.Store, n int) {
	t.Helper()
	compareAnswers(t, "next due", nextDue(both[1]), nextDue(both[0]))
	if n%3 == 0 {
		return
	}
	d, _, _, ok, _ := both[1].NextDue()
	for _, st := range both {
		if ok {
			st.DeleteDue(d)
		}
	}
}

func compareAt(t *testing.T, both []machine.Store, n int) {
	t.Helper()
	p := record.Position{Seq: uint64(n*31%(n+1)) + 1}
	compareAnswers(t, "outcome", outcomeOf(both[1], p), outcomeOf(both[0], p))
	compareAnswers(t, "due of", dueOf(both[1], p), dueOf(both[0], p))
	user := fmt.Sprintf("user%03d", n*13%600)
	compareAnswers(t, "user", userOf(both[1], "acme", user), userOf(both[0], "acme", user))
}

func TestMisuse(t *testing.T) {
	for name, misuse := range map[string]func(s *Store){
		"freeze twice":           func(s *Store) { s.Freeze(Checkpoint{}); s.Freeze(Checkpoint{}) },
		"release what is frozen": func(s *Store) { s.Freeze(Checkpoint{}); s.Release() },
		"release nothing":        func(s *Store) { s.Release() },
		"emitted of nothing":     func(s *Store) { s.SetEmitted(1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openTemp(t, testOptions())
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse(s)
		})
	}
	if err := openTemp(t, testOptions()).Commit(); err == nil {
		t.Error("committed without a frozen generation")
	}
}

// What a caller passes in is the caller's again: nothing kept may alias it.
func TestArgumentsAreCopied(t *testing.T) {
	s := openTemp(t, testOptions())
	account, user := []byte("acme"), []byte("ann")
	s.PutUser(account, user, bigUser(1, 9))
	s.PutDue(machine.Due{At: 3, Position: record.Position{Seq: 1}}, account, user)
	user2 := []byte("bob")
	s.PutDue(machine.Due{At: 4, Position: record.Position{Seq: 2}}, account, user2)
	for _, b := range [][]byte{account, user, user2} {
		copy(b, bytes.Repeat([]byte("#"), len(b)))
	}
	for i, want := range []string{"ann", "bob"} {
		_, a, u, ok, err := s.DueOf(record.Position{Seq: uint64(i + 1)})
		if string(a) != "acme" || string(u) != want || !ok || err != nil {
			t.Errorf("due of %d: %s %s %t %v", i+1, a, u, ok, err)
		}
	}
	if u, err := s.User([]byte("acme"), []byte("ann")); u == nil || err != nil {
		t.Errorf("user: %v, %v", u, err)
	}
}
