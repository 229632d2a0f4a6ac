package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

func putKey(s *Store, hour int64, name string, seq uint64) {
	s.PutKey(hour, []byte("acme"), []byte("ann"), []byte(name),
		machine.Key{Position: record.Position{Seq: seq}, Print: "p", At: machine.HourStart(hour)})
}

// keySeq is the position of a key, 0 if it is not there.
func keySeq(t *testing.T, s *Store, name string) uint64 {
	t.Helper()
	k, ok, err := s.Key([]byte("acme"), []byte("ann"), []byte(name))
	if err != nil || ok != (k.Position.Seq != 0) {
		t.Fatalf("key %s: %+v, %t, %v", name, k, ok, err)
	}
	return k.Position.Seq
}

func headWithKeys(applied uint64, hours ...machine.KeyHour) machine.Head {
	return machine.Head{Applied: applied, Limits: record.Limits{MaxKeys: 100, KeysKeep: 1}, Keys: hours}
}

// A key is found in the generation that is written to, in the frozen one, and in the file; the newest counts.
func TestKeyInEveryLayer(t *testing.T) {
	s := openTemp(t, testOptions())
	putKey(s, 5, "filed", 1)
	putKey(s, 5, "again", 2)
	mustCommit(t, s, headWithKeys(2))
	putKey(s, 6, "frozen", 3)
	putKey(s, 6, "again", 4)
	s.Freeze(checkpointAt(headWithKeys(4)))
	putKey(s, 7, "active", 5)
	for name, want := range map[string]uint64{"filed": 1, "frozen": 3, "active": 5, "again": 4, "never": 0} {
		if got := keySeq(t, s, name); got != want {
			t.Errorf("%s is at %d, want %d", name, got, want)
		}
	}
	for _, whose := range [][2]string{{"acme", "bob"}, {"acm", "eann"}} {
		if _, ok, _ := s.Key([]byte(whose[0]), []byte(whose[1]), []byte("filed")); ok {
			t.Errorf("%v has the key of somebody else", whose)
		}
	}
}

// Hours are dropped in every layer, and their buckets as a whole. Outcomes of the same hour stay: they are kept by another rule.
func TestDropKeys(t *testing.T) {
	s := openTemp(t, testOptions())
	putKey(s, 5, "filed", 1)
	s.PutBatch(5, "w", 1, 1)
	mustCommit(t, s, headWithKeys(1))
	putKey(s, 6, "frozen", 2)
	s.Freeze(checkpointAt(headWithKeys(2)))
	putKey(s, 6, "active", 3)
	putKey(s, 7, "late", 4)
	s.DropKeys(7)
	for name, want := range map[string]uint64{"filed": 0, "frozen": 0, "active": 0, "late": 4} {
		if got := keySeq(t, s, name); got != want {
			t.Errorf("%s is at %d, want %d", name, got, want)
		}
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Release()
	mustCommit(t, s, headWithKeys(4))
	if got := hoursIn(t, s, idempotency); fmt.Sprint(got) != "[7]" {
		t.Errorf("the file has keys of the hours %v, want 7 alone", got)
	}
	if seq, ok, err := s.Batch("w", 1); seq != 1 || !ok || err != nil {
		t.Errorf("the batch of a dropped hour of keys: %d, %t, %v", seq, ok, err)
	}
}

func hoursIn(t *testing.T, s *Store, tab table) (hours []int64) {
	t.Helper()
	err := s.file.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames[tab]).ForEachBucket(func(k []byte) error {
			hour, err := decodeHourKey(k)
			hours = append(hours, hour)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return hours
}

// A file of version 1 is one of version 2 from the first checkpoint on that has to do with keys, and not before: until then
// an older program can read it.
func TestFileGetsKeys(t *testing.T) {
	s := mustOpen(t, unpack(t, "testdata/v1/partition.db.gz"), testOptions())
	defer func() { mustClose(t, s) }()
	if keySeq(t, s, "k") != 0 {
		t.Error("a file without keys has one")
	}
	mustCommit(t, s, goldenCheckpoint().Head)
	if got := formatIn(t, s); got != 1 {
		t.Fatalf("it is of version %d before anybody asked for keys", got)
	}
	mustCommit(t, s, headWithKeys(79))
	putKey(s, 5, "k", 80)
	mustCommit(t, s, headWithKeys(80, machine.KeyHour{Hour: 5, Count: 1}))
	path := s.file.db.Path()
	mustClose(t, s)
	s = mustOpen(t, path, testOptions())
	if got := formatIn(t, s); got != 2 || keySeq(t, s, "k") != 80 {
		t.Errorf("opened again it is of version %d and has the key at %d", got, keySeq(t, s, "k"))
	}
	check(t, s)
}

// In a file of version 2 a table that is missing was lost.
func TestKeysMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, testOptions())
	mustCommit(t, s, headWithKeys(1))
	if err := s.file.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketNames[idempotency]) }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := Open(path, testOptions()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened with %v, want %v", err, ErrCorrupt)
	}
}

// A filter forgets nothing, and errs as seldom as its comment says.
func TestFilter(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := func() (id keyID) {
		for i := range id {
			id[i] = byte(r.Uint32())
		}
		return id
	}
	var f filters
	ids := make([]keyID, 100_000)
	for i := range ids {
		ids[i] = random()
		f.add(int64(i%(3*spanHours)), ids[i])
	}
	for i, id := range ids {
		if hour := int64(i % (3 * spanHours)); !slices.Contains(f.hours(id, noHour), hour) {
			t.Fatalf("key %d is not found in hour %d", i, hour)
		}
	}
	wrong := 0
	for range ids {
		if f.list[0].has(random()) {
			wrong++
		}
	}
	if share := float64(wrong) / float64(len(ids)); share > 0.01 {
		t.Errorf("%.2f %% of the keys that are not there are found", 100*share)
	}
	bytes := f.bytes()
	if most := len(ids) * 2 * 6; bytes > most {
		t.Errorf("%d bytes for %d keys", bytes, len(ids))
	}
}
