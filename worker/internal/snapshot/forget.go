package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Forget takes snapshots off the pointer, by compare-and-set, and says how many. Their objects, which nothing names any more, are removed by a later Make.
func (s *Shelf) Forget(ctx context.Context, which func(Entry) bool) (gone int, err error) {
	entries, revision, err := s.look(ctx)
	if err != nil {
		return 0, err
	}
	kept := slices.DeleteFunc(slices.Clone(entries), which)
	if gone = len(entries) - len(kept); gone == 0 {
		return 0, nil
	}
	if err := s.put(ctx, kept, revision); err != nil {
		return 0, fmt.Errorf("forget snapshots of partition %d: %w", s.p, err)
	}
	return gone, nil
}

func (s *Shelf) put(ctx context.Context, kept []Entry, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	bucket, err := s.broker.JS.KeyValue(ctx, broker.BucketSnapshots)
	if err != nil {
		return err
	}
	key := strconv.Itoa(s.p)
	if len(kept) == 0 {
		return bucket.Delete(ctx, key, jetstream.LastRevision(revision))
	}
	value, err := encodePointer(kept)
	if err == nil {
		_, err = bucket.Update(ctx, key, value, revision)
	}
	return err
}
