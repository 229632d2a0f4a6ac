package nats_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// A worker keeps snapshots and what is said of partitions: whatever subjects the library takes for that, it may.
func TestWorkerUsesItsStores(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Members(1), natstest.Config("server.conf", keys.Env()...))
	w := as(t, c, keys, "worker")
	b, err := broker.Ensure(t.Context(), w.conn, settings(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	store, err := b.JS.ObjectStore(ctx, broker.StoreSnapshots)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("snapshot"), 1<<16)
	if _, err := store.PutBytes(ctx, "0/1-a", data); err != nil {
		t.Fatal(err)
	}
	if got, err := store.GetBytes(ctx, "0/1-a"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if list, err := store.List(ctx); err != nil || len(list) != 1 {
		t.Errorf("listed %d objects, %v", len(list), err)
	}
	if err := store.Delete(ctx, "0/1-a"); err != nil {
		t.Error(err)
	}
	for _, bucket := range []string{broker.BucketControl, broker.BucketSnapshots, broker.BucketMembers} {
		useBucket(t, b, bucket)
	}
	if last := w.conn.LastError(); errors.Is(last, nats.ErrPermissionViolation) {
		t.Error(last)
	}
}

func useBucket(t *testing.T, b *broker.Broker, bucket string) {
	t.Helper()
	ctx := t.Context()
	kv, err := b.JS.KeyValue(ctx, bucket)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := kv.Create(ctx, "some.key", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, "some.key", []byte("2"), rev); err != nil {
		t.Error(err)
	}
	if _, err := kv.Create(ctx, "some.key", nil); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Error(err)
	}
	if e, err := kv.Get(ctx, "some.key"); err != nil || string(e.Value()) != "2" {
		t.Error(err)
	}
	watch, err := kv.WatchAll(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-watch.Updates(); string(e.Value()) != "2" {
		t.Errorf("watch says %q", e.Value())
	}
	if err := watch.Stop(); err != nil {
		t.Error(err)
	}
	if keys, err := kv.Keys(ctx); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if err := kv.Delete(ctx, "some.key"); err != nil {
		t.Error(err)
	}
	if err := kv.Purge(ctx, "some.key"); err != nil {
		t.Error(err)
	}
}
