package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

func mustCopy(t *testing.T, s *Store, path string) Copied {
	t.Helper()
	c, err := s.CopyTo(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lookAt opens a copy without changing it, holds it to what CopyTo said, and dumps it.
func lookAt(t *testing.T, path string, c Copied) string {
	t.Helper()
	s, err := OpenReadOnly(path, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
	last, ok := s.Last()
	if d := cmp.Diff(c.Checkpoint, last); d != "" || !ok {
		t.Errorf("the copy's checkpoint is not what was said (-said +found):\n%s", d)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.LastDigest() != c.Digest || info.Size() != c.Bytes {
		t.Errorf("digest is %016x with %d bytes, said was %016x with %d", s.LastDigest(), info.Size(), c.Digest, c.Bytes)
	}
	if id, p, ok := s.Log(); id != testLog || p != 7 || !ok {
		t.Errorf("it is of partition %d of log %s, %t", p, id, ok)
	}
	return content(t, s).Dump()
}

func TestCopyIsTheLastCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s := fullStore(t, filepath.Join(dir, "p.db"))
	defer mustClose(t, s)
	want := content(t, s).Dump()
	putBig(s, 10, 1, 100) // not committed
	c := mustCopy(t, s, filepath.Join(dir, "copy"))
	if c.Seq != 70 || c.Head.Writers["writer"].Number != 60 {
		t.Errorf("the copy says it is of %+v", c.Checkpoint)
	}
	if d := cmp.Diff(lines(want), lines(lookAt(t, filepath.Join(dir, "copy"), c))); d != "" {
		t.Errorf("the copy differs (-file +copy):\n%s", d)
	}
}

// A copy is one checkpoint, whatever is committed beside it, and no copy keeps a commit from growing the file.
func TestCopyBesideCommits(t *testing.T) {
	dir := t.TempDir()
	s := openTemp(t, testOptions())
	digests := map[uint64]uint64{} // by seq
	commit := func(n int) {
		putBig(s, 200, n, 200*n)
		head := machine.Head{Applied: uint64(n)}
		d, err := s.Digest(head)
		if err != nil {
			t.Fatal(err)
		}
		digests[head.Applied] = d
		mustCommit(t, s, head)
	}
	commit(1)
	copies, done := []Copied{}, make(chan error, 1)
	go func() {
		for range 20 {
			c, err := s.CopyTo(context.Background(), filepath.Join(dir, "copy"))
			if err != nil {
				done <- err
				return
			}
			copies = append(copies, c)
		}
		close(done)
	}()
	for n := 2; n <= 40; n++ {
		commit(n)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, c := range copies {
		if c.Digest != digests[c.Seq] {
			t.Errorf("the copy of checkpoint %d has digest %016x, not %016x", c.Seq, c.Digest, digests[c.Seq])
		}
	}
	lookAt(t, filepath.Join(dir, "copy"), copies[len(copies)-1])
}

func TestLastDigestIsThatOfTheState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	s := fullStore(t, path)
	head := machine.Head{Applied: 71}
	putBig(s, 3, 1, 10)
	mustCommit(t, s, head)
	want, err := s.Digest(head)
	if err != nil {
		t.Fatal(err)
	}
	if s.LastDigest() != want {
		t.Errorf("after a commit it is %016x, not %016x", s.LastDigest(), want)
	}
	mustClose(t, s)
	s = mustOpen(t, path, testOptions())
	defer mustClose(t, s)
	if s.LastDigest() != want {
		t.Errorf("after opening it is %016x, not %016x", s.LastDigest(), want)
	}
}

func TestCopyLeavesNothingHalf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "copy")
	empty := mustOpen(t, filepath.Join(dir, "empty.db"), testOptions())
	defer mustClose(t, empty)
	if _, err := empty.CopyTo(context.Background(), path); !errors.Is(err, ErrEmpty) {
		t.Errorf("copy of a file without a checkpoint: %v", err)
	}
	s := fullStore(t, filepath.Join(dir, "p.db"))
	defer mustClose(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.CopyTo(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("aborted copy: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was left behind: %v", err)
	}
}

func TestReadOnlyChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.db")
	if _, err := OpenReadOnly(path, testOptions()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	mustClose(t, fullStore(t, path))
	before := read(t, path)
	s, err := OpenReadOnly(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := s.User([]byte("acme"), []byte("user03")); err != nil || u == nil {
		t.Errorf("user: %v, %v", u, err)
	}
	putBig(s, 3, 1, 10)
	s.Freeze(checkpointAt(machine.Head{Applied: 99}))
	if err := s.Commit(); err == nil {
		t.Error("a file that is open for reading was written to")
	}
	mustClose(t, s)
	if !bytes.Equal(before, read(t, path)) {
		t.Error("the file has changed")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("folder: %v, %v", entries, err)
	}
}

// A file in use cannot be looked at, and says so.
func TestReadOnlyBesideAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	s := fullStore(t, path)
	defer mustClose(t, s)
	opts := testOptions()
	opts.LockTimeout = 1
	if _, err := OpenReadOnly(path, opts); !errors.Is(err, ErrLocked) {
		t.Errorf("open: %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
