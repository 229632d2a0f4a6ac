package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// endless is a broker whose first lists never say that they are complete, as when their last entry expires meanwhile.
type endless struct {
	jetstream.JetStream
	lists int
}

type endlessBucket struct {
	jetstream.KeyValue
	of *endless
}

type endlessWatch struct {
	jetstream.KeyWatcher
	updates chan jetstream.KeyValueEntry
}

func (e *endless) KeyValue(ctx context.Context, name string) (jetstream.KeyValue, error) {
	bucket, err := e.JetStream.KeyValue(ctx, name)
	return endlessBucket{bucket, e}, err
}

func (b endlessBucket) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	watch, err := b.KeyValue.WatchAll(ctx, opts...)
	if b.of.lists--; b.of.lists < 0 || err != nil {
		return watch, err
	}
	updates := make(chan jetstream.KeyValueEntry)
	go func() {
		defer close(updates)
		for entry := range watch.Updates() {
			if entry != nil {
				updates <- entry
			}
		}
	}()
	return endlessWatch{watch, updates}, nil
}

func (w endlessWatch) Updates() <-chan jetstream.KeyValueEntry { return w.updates }

// A list that does not end is begun again, until the context ends.
func TestListEnds(t *testing.T) {
	b := ensure(t, natstest.Start(t, natstest.Lazy()).Connect(), settings(1))
	ctx := t.Context()
	if entries, err := b.List(ctx, broker.BucketRevoked); err != nil || len(entries) != 0 {
		t.Errorf("empty: %v, %v", entries, err)
	}
	for _, key := range []string{"a", "b", "gone"} {
		if err := b.KVPut(ctx, broker.BucketRevoked, key, []byte("value"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.KVPurge(ctx, broker.BucketRevoked, "gone", time.Hour); err != nil {
		t.Fatal(err)
	}
	js := &endless{b.JS, 1}
	b.JS = js
	entries, err := b.List(ctx, broker.BucketRevoked)
	if err != nil || len(entries) != 2 || entries[0].Key() != "a" || entries[1].Key() != "b" || js.lists != -1 {
		t.Errorf("%v, %v, %d", entries, err, js.lists)
	}
	js.lists = 1000
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := b.List(short, broker.BucketRevoked); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("for ever: %v", err)
	}
	if _, err := b.List(ctx, "NONE"); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("no bucket: %v", err)
	}
}
