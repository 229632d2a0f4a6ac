package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// listPatience is how long a list may be silent before it is begun again, at first; it doubles each time. The library ends a list when it has seen as many
// entries as there were at its beginning: when the last of them expires in between, that never happens.
const listPatience = time.Second

// List is what a bucket holds, without marks of what was deleted. It may come from a copy that is a moment behind. It ends with ctx at the latest; errors
// are the broker's, and those of ctx.
func (b *Broker) List(ctx context.Context, bucketName string) ([]jetstream.KeyValueEntry, error) {
	bucket, err := b.JS.KeyValue(ctx, bucketName)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucketName, err)
	}
	for patience := listPatience; ; patience *= 2 {
		entries, complete, err := b.listOnce(ctx, bucket, patience)
		if err != nil {
			return nil, fmt.Errorf("list bucket %s: %w", bucketName, err)
		}
		if complete {
			return entries, nil
		}
	}
}

// listOnce gives up when nothing came for as long as patience: the list is not complete.
func (b *Broker) listOnce(ctx context.Context, bucket jetstream.KeyValue, patience time.Duration) (entries []jetstream.KeyValueEntry, complete bool, err error) {
	watcher, err := bucket.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, false, err
	}
	defer b.stop(watcher)
	silent := time.NewTimer(patience)
	defer silent.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok && ctx.Err() != nil:
				return nil, false, ctx.Err()
			case !ok:
				return nil, false, errWatchClosed
			case entry == nil:
				return entries, true, nil
			}
			entries = append(entries, entry)
			silent.Reset(patience)
		case <-silent.C:
			return nil, false, nil
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}
