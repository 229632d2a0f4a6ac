package snapshot

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/worker/internal/store"
)

var update = flag.Bool("update", false, "rewrite testdata")

func example(seq uint64, unique string) Entry {
	return Entry{Identity: store.Identity{LogID: "S8VNQ0FD5WTBJ1PJ7T8PM4", Partition: 7, Seq: seq, Time: 1_795_635_239_123_456_789, Hash: 0xfedcba9876543210},
		Object: objectName(7, seq, unique), Digest: 0x0123456789abcdef, Events: 20_001, EmittedSeq: 512, Bytes: 335_544_320,
		SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", CompressedBytes: 83_886_080,
		MadeAt: time.Date(2026, 11, 25, 19, 33, 59, 500_000_000, time.UTC)}
}

// The pointer is a promise: a worker of any version must find the snapshots that another one made, and a changed field would make it take them
// for missing.
func TestGoldenPointer(t *testing.T) {
	const path = "testdata/pointer.json"
	want := []Entry{example(10482, "R0ZtZm3bGVnDXKzNtfd0hb"), example(9001, "R0ZtZm3bGVnDXKzNtfd0ha")}
	data, err := encodePointer(want)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(data, '\n'), golden) {
		t.Errorf("it is written as\n%s\nand was\n%s", data, golden)
	}
	got, err := decodePointer(golden, 7)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("it is read as something else (-want +got):\n%s", d)
	}
	for _, p := range []int{0, 71} {
		if _, err := decodePointer(golden, p); err == nil {
			t.Errorf("it is taken for partition %d's", p)
		}
	}
}

// Where an object lies is a promise as well.
func TestGoldenPlace(t *testing.T) {
	at := placeOf("7/10482-R0ZtZm3bGVnDXKzNtfd0hb")
	want := place{name: "7/10482-R0ZtZm3bGVnDXKzNtfd0hb", chunks: "$O.SNAPSHOT-DATA.C.7.10482.R0ZtZm3bGVnDXKzNtfd0hb",
		sheet: "$O.SNAPSHOT-DATA.M.Ny8xMDQ4Mi1SMFp0Wm0zYkdWbkRYS3pOdGZkMGhi", nuid: "7.10482.R0ZtZm3bGVnDXKzNtfd0hb"}
	if at != want {
		t.Errorf("it lies at %+v, not at %+v", at, want)
	}
	if back, ok := placeAt(at.chunks); !ok || back != at {
		t.Errorf("found by its chunks it is %+v, %t", back, ok)
	}
	for _, subject := range []string{"", "$O.SNAPSHOT-DATA.C.7.10482", "$O.SNAPSHOT-DATA.M.7.1.x", "$O.SNAPSHOT-DATA.C.7.1.x.y"} {
		if at, ok := placeAt(subject); ok {
			t.Errorf("%q is taken for %+v", subject, at)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"7/10482-abc": true, "7/10482-": false, "7/-abc": false, "8/1-a": false, "7/01-a": false, "7/1-a.b": false,
		"7/1-a/b": false, "7/1-a>": false, "7/1": false, "": false, "7/1-a-b": false} {
		if _, ok := parseName(name, 7); ok != want {
			t.Errorf("%q is a name: %t", name, ok)
		}
	}
}

// Nothing that stands in the bucket makes a worker panic, or believe in a snapshot of another partition.
func FuzzPointer(f *testing.F) {
	golden, err := os.ReadFile("testdata/pointer.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"format":1,"snapshots":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decodePointer(data, 7)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Partition != 7 || e.LogID == "" || e.Bytes <= 0 || len(e.SHA256) != 64 {
				t.Errorf("believed: %+v", e)
			}
		}
		again, err := encodePointer(entries)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodePointer(again, 7); err != nil || !cmp.Equal(entries, back) {
			t.Errorf("written again it is %v, %v", back, err)
		}
	})
}
