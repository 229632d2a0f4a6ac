package snapshot

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triggerd/triggerd/worker/internal/store"
)

// Entry is what the pointer says of one snapshot.
type Entry struct {
	store.Identity // of the checkpoint that it holds

	Object     string // its name in the object store
	Digest     uint64 // of the state
	Events     uint64 // the last event number derived
	EmittedSeq uint64 // the sequence in EVENTS-p of that event, or of a later one

	Bytes           int64  // of the file
	SHA256          string // of the file, 64 hexadecimal digits
	CompressedBytes int64  // of the object
	MadeAt          time.Time
}

// Kept is how many snapshots of a partition are kept. The log is trimmed up to the older one.
const Kept = 2

// pointerFormat is the version of the pointer.
const pointerFormat = 1

// ErrUnknownFormat: a newer triggerd wrote the pointer.
var ErrUnknownFormat = errors.New("pointer to the snapshots is of an unknown version: run the triggerd that wrote it, or a newer one")

// pointer is the value of a key of the bucket. 64-bit digests are text: not every reader of JSON has integers of that size.
type pointer struct {
	Format    int         `json:"format"`
	Snapshots []wireEntry `json:"snapshots"`
}

type wireEntry struct {
	Object          string `json:"object"`
	LogID           string `json:"log_id"`
	Partition       int    `json:"partition"`
	Seq             uint64 `json:"seq"`
	Time            string `json:"time"`
	Hash            string `json:"hash"`
	Digest          string `json:"digest"`
	Events          uint64 `json:"events"`
	EmittedSeq      uint64 `json:"emitted_seq"`
	Bytes           int64  `json:"bytes"`
	SHA256          string `json:"sha256"`
	CompressedBytes int64  `json:"compressed_bytes"`
	MadeAt          string `json:"made_at"`
}

func encodePointer(entries []Entry) ([]byte, error) {
	p := pointer{Format: pointerFormat, Snapshots: []wireEntry{}}
	for _, e := range entries {
		p.Snapshots = append(p.Snapshots, wireEntry{Object: e.Object, LogID: e.LogID, Partition: e.Partition, Seq: e.Seq,
			Time: time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano), Hash: hex64(e.Hash), Digest: hex64(e.Digest),
			Events: e.Events, EmittedSeq: e.EmittedSeq, Bytes: e.Bytes, SHA256: e.SHA256, CompressedBytes: e.CompressedBytes,
			MadeAt: e.MadeAt.UTC().Format(time.RFC3339Nano)})
	}
	return json.Marshal(p)
}

// decodePointer reads the pointer of partition p. Errors say that it cannot be read, never that there are no snapshots.
func decodePointer(data []byte, p int) ([]Entry, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, err
	}
	if version.Format != pointerFormat {
		return nil, fmt.Errorf("%w (it is %d, known is %d)", ErrUnknownFormat, version.Format, pointerFormat)
	}
	var wire pointer
	if err := json.Unmarshal(data, &wire); err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(wire.Snapshots))
	for i := range wire.Snapshots {
		e, err := wire.Snapshots[i].entry(p)
		if err != nil {
			return nil, fmt.Errorf("snapshot %d of it: %w", i, err)
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(b.Seq, a.Seq) })
	return entries, nil
}

func (w *wireEntry) entry(p int) (e Entry, err error) {
	e = Entry{Identity: store.Identity{LogID: w.LogID, Partition: w.Partition, Seq: w.Seq}, Object: w.Object, Events: w.Events,
		EmittedSeq: w.EmittedSeq, Bytes: w.Bytes, SHA256: w.SHA256, CompressedBytes: w.CompressedBytes}
	var faults [4]error
	var at time.Time
	at, faults[0] = time.Parse(time.RFC3339Nano, w.Time)
	e.Time = at.UnixNano()
	e.Hash, faults[1] = strconv.ParseUint(w.Hash, 16, 64)
	e.Digest, faults[2] = strconv.ParseUint(w.Digest, 16, 64)
	e.MadeAt, faults[3] = time.Parse(time.RFC3339Nano, w.MadeAt)
	if err := errors.Join(faults[:]...); err != nil {
		return e, err
	}
	if sum, err := hex.DecodeString(w.SHA256); err != nil || len(sum) != 32 || w.Bytes <= 0 || w.CompressedBytes <= 0 || w.LogID == "" {
		return e, errors.New("a size, a checksum or the log id is missing")
	}
	if seq, ok := parseName(w.Object, p); !ok || seq != w.Seq || w.Partition != p {
		return e, fmt.Errorf("object %q is not one of partition %d at %d", w.Object, p, w.Seq)
	}
	return e, nil
}

func hex64(v uint64) string { return fmt.Sprintf("%016x", v) }

// objectName is <partition>/<seq>-<unique>.
func objectName(p int, seq uint64, unique string) string {
	return fmt.Sprintf("%d/%d-%s", p, seq, unique)
}

func parseName(name string, p int) (seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, strconv.Itoa(p)+"/")
	digits, unique, found := strings.Cut(rest, "-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, ok && found && err == nil && unique != "" && !strings.ContainsAny(unique, "-/. *>\t\r\n") && strconv.FormatUint(seq, 10) == digits
}
