package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// refuse opens a file that must not be opened, and looks that nothing happened to it.
func refuse(t *testing.T, path string, opts Options, want error, words ...string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, opts)
	if err == nil {
		mustClose(t, s)
	}
	if !errors.Is(err, want) {
		t.Fatalf("open: %v, want %v", err, want)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed, or lost: %v", err)
	}
}

// editMeta changes a file behind the Store's back.
func editMeta(t *testing.T, path string, edit func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(edit), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// newFile is the path of a closed file with one checkpoint.
func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, testOptions())
	s.PutUser([]byte("acme"), []byte("ann"), benchUser(1))
	mustCommit(t, s, machine.Head{Applied: 4})
	mustClose(t, s)
	return path
}

func TestLastIsWhatWasCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, testOptions())
	if c, ok := s.Last(); ok {
		t.Fatalf("a new file has checkpoint %+v", c)
	}
	want := checkpointAt(machine.Head{Applied: 4, Events: 3, Writers: map[string]machine.Writer{"w": {Number: 2}}})
	s.Freeze(want)
	s.SetEmitted(99)
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Last(); ok {
		t.Error("a checkpoint counts before it is released")
	}
	s.Release()
	mustClose(t, s)
	s = mustOpen(t, path, testOptions())
	defer mustClose(t, s)
	got, ok := s.Last()
	if !ok || got.Identity != want.Identity || got.EmittedSeq != 99 || got.Head.Applied != 4 || got.Head.Writers["w"].Number != 2 {
		t.Errorf("got %+v, %t", got, ok)
	}
}

func TestLockedFile(t *testing.T) {
	path := newFile(t)
	s := mustOpen(t, path, testOptions())
	defer mustClose(t, s)
	opts := testOptions()
	opts.LockTimeout = 1 // nanosecond
	refuse(t, path, opts, ErrLocked)
}

func TestUnknownVersion(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(b *bbolt.Bucket) error
		known string
	}{
		"file":       {func(b *bbolt.Bucket) error { return b.Put(formatKey, []byte{9}) }, "knows 2"},
		"checkpoint": {func(b *bbolt.Bucket) error { return putMeta(b, checkpointKey, []byte{9, 1, 2}) }, "knows 1"},
		"digest":     {func(b *bbolt.Bucket) error { return putMeta(b, sumsKey, []byte{9}) }, "knows 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newFile(t)
			editMeta(t, path, func(tx *bbolt.Tx) error { return c.edit(tx.Bucket(metaBucket)) })
			refuse(t, path, testOptions(), ErrVersion, name, "version 9", c.known)
		})
	}
}

func TestForeignFile(t *testing.T) {
	path := newFile(t)
	refuse(t, path, Options{LogID: "another", Partition: 7}, ErrForeign, "log-1", "another")
	refuse(t, path, Options{LogID: testLog, Partition: 8}, ErrForeign, "partition 7", "partition 8")
	mustClose(t, mustOpen(t, path, Options{}))

	unused := filepath.Join(t.TempDir(), "unused.db") // has no checkpoint, and yet an owner
	mustClose(t, mustOpen(t, unused, testOptions()))
	refuse(t, unused, Options{LogID: "another", Partition: 7}, ErrForeign)
}

// What is no whole file of a Store is never taken for a new one.
func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"empty":         func(t *testing.T, path string) { truncate(t, path, 0) },
		"one page":      func(t *testing.T, path string) { truncate(t, path, 4096) },
		"three pages":   func(t *testing.T, path string) { truncate(t, path, 3*4096) },
		"cut off":       func(t *testing.T, path string) { truncate(t, path, usedSize(t, path)-4096) },
		"no freelist":   func(t *testing.T, path string) { damageFreelist(t, path) },
		"text":          func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("not bbolt\n"), 4000)) },
		"zeros":         func(t *testing.T, path string) { write(t, path, make([]byte, 32<<10)) },
		"no meta":       func(t *testing.T, path string) { dropBucket(t, path, "meta") },
		"no users":      func(t *testing.T, path string) { dropBucket(t, path, "users") },
		"no format":     func(t *testing.T, path string) { dropMeta(t, path, "format") },
		"no digest":     func(t *testing.T, path string) { dropMeta(t, path, "sums") },
		"no checkpoint": func(t *testing.T, path string) { dropMeta(t, path, "checkpoint") },
		"no log":        func(t *testing.T, path string) { dropMeta(t, path, "log") },
		"another bbolt": func(t *testing.T, path string) { anotherBolt(t, path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newFile(t)
			damage(t, path)
			refuse(t, path, testOptions(), ErrCorrupt)
			refuse(t, path, testOptions(), ErrCorrupt) // the first attempt has let go of it
		})
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func usedSize(t *testing.T, path string) int64 {
	t.Helper()
	s := mustOpen(t, path, testOptions())
	defer mustClose(t, s)
	return fileSize(t, s)
}

// damageFreelist makes bbolt panic when it opens the file.
func damageFreelist(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const flagsAt, freelistPage = 8, 0x10 // in a page's header
	for page := 2 * 4096; page < len(b); page += 4096 {
		if b[page+flagsAt] == freelistPage {
			b[page+flagsAt] = 0xff
		}
	}
	write(t, path, b)
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func dropBucket(t *testing.T, path, name string) {
	t.Helper()
	editMeta(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(name)) })
}

func dropMeta(t *testing.T, path, key string) {
	t.Helper()
	editMeta(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Delete([]byte(key)) })
}

func anotherBolt(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	editMeta(t, path, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("of somebody else"))
		return err
	})
}

// A crash while the file was made leaves one of another name, whole or not.
func TestLeftoverOfCreation(t *testing.T) {
	for name, leftover := range map[string]func(t *testing.T, path string){
		"empty": func(t *testing.T, path string) { write(t, path, nil) },
		"torn":  func(t *testing.T, path string) { write(t, path, make([]byte, 5000)) },
		"no buckets": func(t *testing.T, path string) {
			editMeta(t, path, func(*bbolt.Tx) error { return nil })
		},
		"whole": func(t *testing.T, path string) { mustClose(t, mustOpen(t, path, testOptions())) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.db")
			leftover(t, path+".new")
			s := mustOpen(t, path, testOptions())
			check(t, s)
			mustClose(t, s)
			if _, err := os.Stat(path + ".new"); err == nil {
				t.Error("the leftover is still there")
			}
		})
	}
}

func TestMissingFolder(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no", "p.db"), testOptions()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
}

func TestUseAfterClose(t *testing.T) {
	s := mustOpen(t, newFile(t), testOptions())
	s.Freeze(checkpointAt(machine.Head{}))
	mustClose(t, s)
	mustClose(t, s)
	if _, err := s.User([]byte("acme"), []byte("ann")); err == nil {
		t.Error("read from a closed file")
	}
	if err := s.Commit(); err == nil {
		t.Error("committed to a closed file")
	}
}
