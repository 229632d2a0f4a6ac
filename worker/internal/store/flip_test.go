package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// fullStore has something in every table, and more than one page of users.
func fullStore(t *testing.T, path string) *Store {
	t.Helper()
	s := mustOpen(t, path, testOptions())
	for i := range 60 {
		user := fmt.Appendf(nil, "user%02d", i)
		s.PutUser([]byte("acme"), user, benchUser(i))
		p := record.Position{Seq: uint64(i + 1)}
		s.PutDue(machine.Due{At: int64(i), Position: p}, []byte("acme"), user)
		out := machine.Outcome{Position: p, Kind: record.Trigger, Status: machine.Scheduled, Account: "acme", User: string(user), UserVersion: 3}
		s.PutOutcomes(int64(i/20), p.Seq, []machine.Outcome{out})
		s.PutBatch(int64(i/20), "writer", p.Seq, p.Seq)
	}
	s.PutOutcome(2, machine.Outcome{Position: record.Position{Seq: 3}, Kind: record.Trigger, Status: machine.Redirected, Account: "acme", User: "user02"})
	s.PutDeadLetter(machine.DeadLetter{Position: record.Position{Seq: 70}, Reason: machine.DeadBatch, Whole: true, Data: []byte("{")})
	mustCommit(t, s, machine.Head{Applied: 70, Writers: map[string]machine.Writer{"writer": {Number: 60}}})
	return s
}

// answers asks for everything; what can't be read is the error's kind alone.
func answers(s *Store) (list []string) {
	add := func(text string, err error) {
		if err != nil {
			text = "error"
			if errors.Is(err, ErrCorrupt) {
				text = "corrupt"
			}
		}
		list = append(list, text)
	}
	last, ok := s.Last()
	add(fmt.Sprint(last, ok), nil)
	for i := range 61 {
		user := fmt.Appendf(nil, "user%02d", i)
		u, err := s.User([]byte("acme"), user)
		add(fmt.Sprintf("%+v", u), err)
		p := record.Position{Seq: uint64(i + 1)}
		out, ok, err := s.Outcome(p)
		add(fmt.Sprintf("%+v %t", out, ok), err)
		d, _, whose, ok, err := s.DueOf(p)
		add(fmt.Sprintf("%+v %s %t", d, whose, ok), err)
		seq, ok, err := s.Batch("writer", p.Seq)
		add(fmt.Sprint(seq, ok), err)
		d, _, whose, ok, err = s.NextDue()
		add(fmt.Sprintf("%+v %s %t", d, whose, ok), err)
		s.DeleteDue(d)
	}
	letters, err := s.DeadLetters(5)
	add(fmt.Sprint(letters), err)
	return list
}

// flips flips bytes of a file with two checkpoints.
type flips struct {
	path            string
	whole           []byte
	newest, earlier []string // answers
	found, harmless int
}

func newFlips(t *testing.T) *flips {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.db")
	s := fullStore(t, path)
	f := &flips{path: path, earlier: answers(s)}
	mustClose(t, s)
	s = mustOpen(t, path, testOptions())
	s.PutUser([]byte("acme"), []byte("user07"), nil)
	mustCommit(t, s, machine.Head{Applied: 71})
	f.newest = answers(s)
	mustClose(t, s)
	var err error
	if f.whole, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return f
}

// A flipped byte anywhere in the file either changes nothing that can be read, or is found: by Open, by Verify, and never
// crashes the process. A damaged meta page of bbolt is the one exception: it looks as if the last commit had not been
// finished, and the file is at the checkpoint before it.
func TestFlippedBytes(t *testing.T) {
	f, stride := newFlips(t), 997 // prime, so that it meets every part of a page in time
	for at := 0; at < len(f.whole); at += stride {
		flipped := bytes.Clone(f.whole)
		flipped[at] ^= 0xff
		write(t, f.path, flipped)
		f.open(t, at)
	}
	t.Logf("%d flips found, %d harmless", f.found, f.harmless)
	if f.found == 0 || f.harmless == 0 {
		t.Error("that is not what a file is like")
	}
}

func (f *flips) open(t *testing.T, at int) {
	t.Helper()
	s, err := Open(f.path, testOptions())
	if err != nil {
		if f.found++; !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Errorf("byte %d: open: %v", at, err)
		}
		return
	}
	defer mustClose(t, s)
	verified, got := s.Verify(), answers(s)
	if slices.Contains(got, "error") || verified != nil && !errors.Is(verified, ErrCorrupt) {
		t.Errorf("byte %d: an error of the wrong kind: %v", at, verified)
	}
	switch sound := slices.Equal(got, f.newest) || at < 2*4096 && slices.Equal(got, f.earlier); {
	case verified != nil:
		f.found++
	case sound:
		f.harmless++
	default:
		t.Errorf("byte %d: other answers, and Verify finds nothing", at)
	}
}
