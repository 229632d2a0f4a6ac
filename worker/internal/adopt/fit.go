package adopt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// fit says whether the message that a checkpoint stands at is in the log. One that was trimmed away may have been: the checkpoint is only old then.
func (r *run) fit(ctx context.Context, id store.Identity) (bool, error) {
	if id.Seq > r.report.Found {
		return false, nil
	}
	msg, err := r.Broker.Message(ctx, r.Partition, id.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return msg.Time.UnixNano() == id.Time && xxhash.Sum64(msg.Data) == id.Hash, nil
}

// snapshotEntry is one entry of the pointer to the snapshots, of which only the identity is looked at.
type snapshotEntry struct {
	store.Identity
	raw json.RawMessage
}

// pointer is the value of the pointer; the rest of it is kept as it is.
type pointer map[string]json.RawMessage

const pointerEntries = "snapshots"

// lookAtSnapshots sorts the snapshots into those that fit and those that do not. Those of another log do no harm.
func (r *run) lookAtSnapshots(ctx context.Context) error {
	_, entries, _, err := r.readPointer(ctx)
	if err != nil {
		return err
	}
	r.kept, r.cut = nil, nil
	for _, e := range entries {
		fits := e.LogID != r.Broker.LogID(r.Partition)
		if !fits {
			r.see(e.Seq, "a snapshot stands")
			if fits, err = r.fit(ctx, e.Identity); err != nil {
				return err
			}
		}
		if fits {
			r.kept = append(r.kept, e)
		} else {
			r.cut = append(r.cut, e)
		}
	}
	return nil
}

func (r *run) readPointer(ctx context.Context) (pointer, []snapshotEntry, uint64, error) {
	value, revision, err := r.Broker.KVGet(ctx, broker.BucketSnapshots, strconv.Itoa(r.Partition))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil, 0, nil
	}
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read list of snapshots: %w", err)
	}
	var p pointer
	var raws []json.RawMessage
	if err = json.Unmarshal(value, &p); err == nil {
		err = json.Unmarshal(p[pointerEntries], &raws)
	}
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read list of snapshots: %w", err)
	}
	entries := make([]snapshotEntry, len(raws))
	for i, raw := range raws {
		if entries[i], err = decodeEntry(raw); err != nil {
			return nil, nil, 0, fmt.Errorf("read list of snapshots: %w", err)
		}
	}
	return p, entries, revision, nil
}

func decodeEntry(raw json.RawMessage) (snapshotEntry, error) {
	var wire struct {
		LogID     string    `json:"log_id"`
		Partition int       `json:"partition"`
		Seq       uint64    `json:"seq"`
		Time      time.Time `json:"time"`
		Hash      string    `json:"hash"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return snapshotEntry{}, err
	}
	hash, err := strconv.ParseUint(wire.Hash, 16, 64)
	return snapshotEntry{store.Identity{LogID: wire.LogID, Partition: wire.Partition, Seq: wire.Seq, Time: wire.Time.UnixNano(), Hash: hash}, raw}, err
}

// dropSnapshots writes the list without those that do not fit. Their objects are removed by whoever makes the next snapshot.
func (r *run) dropSnapshots(ctx context.Context) error {
	p, _, revision, err := r.readPointer(ctx)
	if err != nil {
		return err
	}
	kept := make([]json.RawMessage, 0, len(r.kept))
	for _, e := range r.kept {
		kept = append(kept, e.raw)
	}
	kv, err := r.Broker.JS.KeyValue(ctx, broker.BucketSnapshots)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", broker.BucketSnapshots, err)
	}
	if len(kept) == 0 {
		err = kv.Delete(ctx, strconv.Itoa(r.Partition), jetstream.LastRevision(revision))
	} else {
		var value []byte
		if p[pointerEntries], err = json.Marshal(kept); err == nil {
			value, err = json.Marshal(p)
		}
		if err == nil {
			_, err = kv.Update(ctx, strconv.Itoa(r.Partition), value, revision)
		}
	}
	if err != nil {
		return fmt.Errorf("write list of snapshots: %w", err)
	}
	return nil
}
