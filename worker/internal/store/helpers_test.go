package store

import (
	"encoding/binary"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// raceChecks is how many random runs each property gets under the race detector, unless -rapid.checks says otherwise.
const raceChecks = "25"

func TestMain(m *testing.M) {
	if raceEnabled { // the command line is read later, and wins
		if err := flag.Set("rapid.checks", raceChecks); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// testLog is the log that the files of these tests belong to.
const testLog = "log-1"

func testOptions() Options { return Options{LogID: testLog, Partition: 7} }

// pathIn is a new path below dir.
func pathIn(dir string, n *int) string {
	*n++
	return filepath.Join(dir, fmt.Sprintf("%d.db", *n))
}

// mustOpen does not let bbolt sync: a test that closes a file and opens it again loses nothing, and there are thousands of
// commits.
func mustOpen(t rapid.TB, path string, opts Options) *Store {
	t.Helper()
	s, err := Open(path, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s.file.db.NoSync = true
	return s
}

// openTemp opens a new file that is checked when the test ends.
func openTemp(t *testing.T, opts Options) *Store {
	t.Helper()
	s := mustOpen(t, filepath.Join(t.TempDir(), "p.db"), opts)
	t.Cleanup(func() {
		check(t, s)
		mustClose(t, s)
	})
	return s
}

func mustClose(t rapid.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// check lets bbolt look for damage, and Verify for wrong checksums and sums.
func check(t rapid.TB, s *Store) {
	t.Helper()
	if err := s.Verify(); err != nil {
		t.Fatalf("verify: %v", err)
	}
	err := s.file.db.View(func(tx *bbolt.Tx) error {
		var err error
		for fault := range tx.Check() {
			err = fault
		}
		return err
	})
	if err != nil {
		t.Fatalf("check of bbolt: %v", err)
	}
}

func checkpointAt(head machine.Head) Checkpoint {
	return Checkpoint{Identity: Identity{LogID: testLog, Partition: 7, Seq: head.Applied, Time: 5, Hash: 6}, Head: head, EmittedSeq: head.Events}
}

func mustCommit(t rapid.TB, s *Store, head machine.Head) {
	t.Helper()
	s.Freeze(checkpointAt(head))
	if err := s.Commit(); err != nil {
		t.Fatalf("commit: %v", err)
	}
	s.Release()
}

// content is all that a Store holds, in whichever layer, as the model holds it.
func content(t rapid.TB, s *Store) *machinetest.Memory {
	t.Helper()
	m := machinetest.NewMemory()
	entries := make(map[string][]byte) // by table, hour and key: sealed
	put := func(t table, hour int64, key, sealed []byte) error {
		name := fmt.Sprintf("%d %020d %s", t, hour, key)
		if sealed == nil {
			delete(entries, name)
		} else {
			entries[name] = append([]byte(nil), sealed...)
		}
		return nil
	}
	layers(t, s, put)
	for name, sealed := range entries {
		fill(t, m, name, sealed)
	}
	letters, err := s.DeadLetters(1 << 20)
	if err != nil {
		t.Fatalf("read dead letters: %v", err)
	}
	for i := len(letters) - 1; i >= 0; i-- {
		m.PutDeadLetter(letters[i])
	}
	return m
}

// layers tells all entries of the file and then the changes of the generations.
func layers(t rapid.TB, s *Store, put sink) {
	t.Helper()
	err := s.file.db.View(func(tx *bbolt.Tx) error {
		return scan(tx, func(t table, hour int64, key, sealed []byte) error {
			if t.hourly() && hour < s.droppedOf(t) {
				return nil
			}
			return put(t, hour, key, sealed)
		})
	})
	if err == nil && s.frozen != nil {
		err = s.frozen.changes(s.active, &arena{}, put)
	}
	if err == nil {
		err = s.active.changes(nil, &arena{}, put)
	}
	if err != nil {
		t.Fatalf("read everything: %v", err)
	}
}

func fill(t rapid.TB, m *machinetest.Memory, name string, sealed []byte) {
	t.Helper()
	var tab table
	var hour int64
	if _, err := fmt.Sscanf(name, "%d %d", &tab, &hour); err != nil {
		t.Fatal(err)
	}
	key := []byte(name[len("1 ")+20+1:])
	value, err := unseal(tab, hour, key, sealed)
	if err != nil {
		t.Fatal(err)
	}
	switch tab {
	case users:
		account, user, _ := splitUserKey(key)
		u, err := decodeUser(value)
		if err != nil {
			t.Fatal(err)
		}
		m.PutUser(account, user, u)
	case due:
		account, user, _ := splitUserKey(value)
		d, err := decodeDue(key)
		if err != nil {
			t.Fatal(err)
		}
		m.PutDue(d, account, user)
	case outcomes:
		fillOutcomes(t, m, hour, key, value)
	case idempotency: // the text of a key is not in the file: its id stands for it
		k, err := decodeKey(hour, value)
		if err != nil {
			t.Fatal(err)
		}
		m.PutKey(hour, nil, nil, key, k)
	case batches:
		seq, err := decodeSeq(value)
		if err != nil {
			t.Fatal(err)
		}
		n := len(key) - 8
		m.PutBatch(hour, string(key[:n]), binary.BigEndian.Uint64(key[n:]), seq)
	}
}

func fillOutcomes(t rapid.TB, m *machinetest.Memory, hour int64, key, value []byte) {
	t.Helper()
	outs, err := decodePack(binary.BigEndian.Uint64(key), value)
	if err != nil {
		t.Fatal(err)
	}
	if len(key) == packKeySize {
		m.PutOutcomes(hour, outs[0].Position.Seq, outs)
		return
	}
	m.PutOutcome(hour, outs[0])
}

// lines makes dumps comparable.
func lines(dump string) []string { return strings.Split(dump, "\n") }
