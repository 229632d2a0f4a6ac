package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Looking changes not a byte, is shared, and is refused while somebody writes.
func TestOpenReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "partition.db")
	w, err := Open(path, Options{LogID: "log", Partition: 3})
	if err != nil {
		t.Fatal(err)
	}
	w.Freeze(Checkpoint{Identity: Identity{LogID: "log", Partition: 3, Seq: 9, Time: time.Now().UnixNano(), Hash: 7}})
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	w.Release()
	if _, err := OpenReadOnly(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("beside a writer: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenReadOnly(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := OpenReadOnly(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, s := range []*Store{a, b} {
		c, ok := s.Last()
		if !ok || c.Seq != 9 || c.Partition != 3 {
			t.Errorf("it holds %+v, %v", c, ok)
		}
		if _, err := s.Digest(c.Head); err != nil {
			t.Error(err)
		}
		if u, err := s.User([]byte("a"), []byte("u")); u != nil || err != nil {
			t.Errorf("user is %v, %v", u, err)
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("looking has changed the file, %v", err)
	}
	missing := filepath.Join(t.TempDir(), "none.db")
	if _, err := OpenReadOnly(missing, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Error("looking has made a file")
	}
}

// What is no file of a store is said to be none.
func TestOpenReadOnlyOfSomethingElse(t *testing.T) {
	for name, data := range map[string][]byte{"empty": {}, "text": []byte("not a database"), "zeros": make([]byte, 64<<10)} {
		path := filepath.Join(t.TempDir(), "partition.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenReadOnly(path, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
