package store

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

var update = flag.Bool("update", false, "write testdata anew")

// goldenUser uses every field.
func goldenUser() *machine.User {
	return &machine.User{
		Bot: "shop", Module: 1068935, HasModule: true, Version: 300, UpdatedAt: 1_767_225_600_123, VarBytes: 21,
		Vars: []machine.Var{{Name: "amount", Value: []byte("1e400")}, {Name: "paid", Value: []byte(`"zoë"`)}},
		Pending: []machine.Pending{{
			Due: machine.Due{At: 1_767_225_603_000, Position: record.Position{Seq: 77, Index: 5}}, Module: 21890, Bot: "help",
			AcceptedAt: 1_767_225_600_000, Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		}, {Due: machine.Due{At: 1_767_225_603_000, Position: record.Position{Seq: 78}}, Module: -1, AcceptedAt: 1_767_225_600_100}},
		Changes: []machine.Change{
			{ID: record.Position{Seq: 70, Index: 2}, At: 1_767_225_600_000, ModuleAfter: 21890, Variables: []string{"amount", "gone"}},
			{ID: record.Position{Seq: 77, Index: 5}, At: 1_767_225_600_123, ModuleBefore: 21890, ModuleAfter: 21890},
			{ID: record.Position{Seq: 60}, At: 1_767_225_600_100, ModuleBefore: 3, ModuleAfter: 4, Variables: []string{"paid"}},
		},
	}
}

func goldenOutcomes() []machine.Outcome {
	at := func(index uint32) record.Position { return record.Position{Seq: 77, Index: index} }
	return []machine.Outcome{
		{Position: at(0), Kind: record.Trigger, Account: "acme", User: "ann", Status: machine.Scheduled, AcceptedAt: 1_767_225_600_000, AppliedAt: 1_767_225_600_123, UserVersion: 300},
		{Position: at(2), Kind: record.Delete, Account: "zoo", User: "bob", Status: machine.Rejected, Reason: machine.ReasonUnknownUser, AcceptedAt: 1_767_225_600_000, AppliedAt: 1_767_225_600_123},
		{Position: at(3), Kind: record.Register, Account: "acme", User: strings.Repeat("x", 150), Status: machine.Duplicate, DuplicateOf: record.Position{Seq: 12, Index: 3}, AcceptedAt: 1_767_225_600_001, AppliedAt: 1_767_225_600_100},
	}
}

func goldenCheckpoint() Checkpoint {
	return Checkpoint{
		Identity: Identity{LogID: "log-1", Partition: 7, Seq: 78, Time: 1_767_225_600_123_456_789, Hash: 0x0123456789abcdef},
		Head: machine.Head{Applied: 78, StreamTime: 1_767_225_600_123, Events: 12, Configured: true, Users: 1, Pending: 2,
			Limits:  record.Limits{Machine: 1, MaxUserBytes: 524288, MaxPending: 1000, OutcomesKeep: 3600000},
			Writers: map[string]machine.Writer{"ingressA": {Number: 9, Seen: 1_767_225_600_123}, "b": {Number: 300}}},
		EmittedSeq: 11,
	}
}

func goldenDead() machine.DeadLetter {
	return machine.DeadLetter{Position: record.Position{Seq: 76}, Whole: true, Account: "acme", Reason: machine.DeadBatch, At: 1_767_225_600_000, Data: []byte("{\n")}
}

// goldenStore has one entry of each kind.
func goldenStore(s *Store) {
	s.PutUser([]byte("acme"), []byte("ann"), goldenUser())
	for _, p := range goldenUser().Pending {
		s.PutDue(p.Due, []byte("acme"), []byte("ann"))
	}
	s.PutOutcomes(490_896, 77, goldenOutcomes())
	late := goldenOutcomes()[0]
	late.Status, late.AppliedAt = machine.Redirected, late.AppliedAt+3_600_000
	s.PutOutcome(490_897, late)
	s.PutBatch(490_896, "ingressA", 9, 77)
	s.PutDeadLetter(goldenDead())
}

// Files of this version are on disks: what they hold must be read for ever as it was written. If this fails, the format has
// changed, and needs a new version.
func TestValuesOfVersion1(t *testing.T) {
	var b strings.Builder
	show := func(name string, v []byte) { fmt.Fprintf(&b, "%s %s\n", name, hex.EncodeToString(v)) }
	c, letter := goldenCheckpoint(), goldenDead()
	show("user", appendUser(nil, goldenUser()))
	show("outcomes", appendPack(nil, goldenOutcomes()))
	show("checkpoint", appendCheckpoint(nil, &c))
	show("dead-letter", appendDeadLetter(nil, &letter))
	show("user-key", appendUserKey(nil, "acme", "ann"))
	show("due-key", appendDue(nil, goldenUser().Pending[0].Due))
	show("scheduled", appendScheduled(nil, 1_767_225_603_000, "acme\x00ann"))
	show("sealed-user", appendSeal([]byte("content"), 0, users, 0, []byte("key")))
	show("sealed-outcomes", appendSeal([]byte("content"), 0, outcomes, 490_896, []byte("key")))
	golden(t, "testdata/v1/values.txt", []byte(b.String()))
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		write(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(string(want)), lines(string(got))); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Version 2 has idempotency keys besides.
func TestValuesOfVersion2(t *testing.T) {
	var b strings.Builder
	show := func(name string, v []byte) { fmt.Fprintf(&b, "%s %s\n", name, hex.EncodeToString(v)) }
	c, k := goldenCheckpoint2(), goldenKey()
	id := new(Store).keyID([]byte("acme"), []byte("ann"), []byte("order-17"))
	show("checkpoint", appendCheckpoint(nil, &c))
	show("idempotency-key", id[:])
	show("idempotency", appendKey(nil, 490_896, &k))
	show("sealed-idempotency", appendSeal([]byte("content"), 0, idempotency, 490_896, []byte("key")))
	golden(t, "testdata/v2/values.txt", []byte(b.String()))
}

func goldenKey() machine.Key {
	return machine.Key{Position: record.Position{Seq: 77, Index: 300}, Print: "1nQ0kmz7XJqk4e2fZ", At: 1_767_225_600_123}
}

func goldenCheckpoint2() Checkpoint {
	c := goldenCheckpoint()
	c.Head.Limits.MaxKeys, c.Head.Limits.KeysKeep = 1_000_000, 86_400_000
	c.Head.Keys = []machine.KeyHour{{Hour: 490_895, Count: 1}, {Hour: 490_896, Count: 300}}
	return c
}

// goldenFile is a file of a version. The digest is what a worker of another release computes from the same state. It must not change, or
// the two call each other wrong.
type goldenFile struct {
	checkpoint Checkpoint
	fill       func(*Store)
	digest     uint64
}

var goldenFiles = map[int]goldenFile{
	1: {goldenCheckpoint(), goldenStore, 0x51a0825ff1e3bee3},
	2: {goldenCheckpoint2(), func(s *Store) {
		goldenStore(s)
		s.PutKey(490_896, []byte("acme"), []byte("ann"), []byte("order-17"), goldenKey())
	}, 0x63122e5057995539},
}

func TestFilesOfAllVersions(t *testing.T) {
	for version, f := range goldenFiles {
		t.Run(fmt.Sprint(version), func(t *testing.T) { f.check(t, version) })
	}
}

func (f goldenFile) check(t *testing.T, version int) {
	packed := fmt.Sprintf("testdata/v%d/partition.db.gz", version)
	if *update {
		f.pack(t, packed)
	}
	path := unpack(t, packed)
	s := mustOpen(t, path, testOptions())
	defer mustClose(t, s)
	check(t, s)
	c, ok := s.Last()
	f.checkpoint.Ledger = machine.NewLedger(&f.checkpoint.Head) // these files have none
	if diff := cmp.Diff(f.checkpoint, c); diff != "" || !ok {
		t.Errorf("checkpoint: %s", diff)
	}
	if got := formatIn(t, s); got != byte(version) {
		t.Errorf("the file says that it is of version %d", got)
	}
	fresh := openTemp(t, testOptions())
	f.fill(fresh)
	if diff := cmp.Diff(lines(content(t, fresh).Dump()), lines(content(t, s).Dump())); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if digest, err := s.Digest(c.Head); err != nil || digest != f.digest {
		t.Errorf("digest %#x, %v, want %#x", digest, err, f.digest)
	}
	if u := content(t, s).Dump(); !strings.Contains(u, machinetest.DumpUser("acme", "ann", goldenUser())) {
		t.Errorf("the user is\n%s", u)
	}
}

func formatIn(t *testing.T, s *Store) (format byte) {
	t.Helper()
	if err := s.file.db.View(func(tx *bbolt.Tx) error { format = formatOf(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	return format
}

func (f goldenFile) pack(t *testing.T, packed string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.db")
	s := mustOpen(t, path, testOptions())
	f.fill(s)
	s.Freeze(f.checkpoint)
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Release()
	mustClose(t, s)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if _, err := z.Write(image); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, packed, b.Bytes())
}

func unpack(t *testing.T, packed string) (path string) {
	t.Helper()
	f, err := os.Open(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "p.db")
	write(t, path, image)
	return path
}
