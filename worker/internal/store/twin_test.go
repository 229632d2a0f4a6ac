package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// A key that was turned into another one that is there is found by its key, and so is that other one; the sum of all seals is what it was.
func TestVerifyFindsAKeyThatBecameAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, testOptions())
	for i, user := range []string{"user02", "user03"} {
		s.PutUser([]byte("acme"), []byte(user), benchUser(i))
	}
	mustCommit(t, s, machine.Head{Applied: 1})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"user03": "user02", "user02": "user03"} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(damaged, bytes.ReplaceAll(whole, []byte("acme\x00"+from), []byte("acme\x00"+to)), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := OpenReadOnly(damaged, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Verify(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s became %s: %v", from, to, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
