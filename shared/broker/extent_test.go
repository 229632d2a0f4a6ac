package broker_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// Trimming keeps the message at which it ends, and never more is dropped than was asked for.
func TestTrim(t *testing.T) {
	ctx := t.Context()
	b := ensure(t, natstest.Start(t, natstest.Lazy()).Connect(), settings(1))
	for range 9 { // the first record makes it ten
		if _, err := b.JS.Publish(ctx, broker.TriggersSubject(0), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	extent := func(wantFirst, wantLast uint64) {
		t.Helper()
		if first, last, err := b.Extent(ctx, 0); first != wantFirst || last != wantLast || err != nil {
			t.Errorf("the log is %d to %d, %v, want %d to %d", first, last, err, wantFirst, wantLast)
		}
	}
	for _, c := range []struct{ seq, first uint64 }{{0, 1}, {1, 1}, {4, 4}, {4, 4}, {2, 4}, {10, 10}} {
		if err := b.Trim(ctx, 0, c.seq); err != nil {
			t.Errorf("trim up to %d: %v", c.seq, err)
		}
		extent(c.first, 10)
	}
	if err := b.Trim(ctx, 0, 11); err == nil {
		t.Error("trimmed beyond the end")
	}
	extent(10, 10)
	if _, err := b.Message(ctx, 0, 10); err != nil {
		t.Errorf("the message at which trimming ended: %v", err)
	}
}

func TestNextOf(t *testing.T) {
	ctx := t.Context()
	b := ensure(t, natstest.Start(t, natstest.Lazy()).Connect(), settings(1))
	kv, err := b.JS.KeyValue(ctx, broker.BucketModules)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		if _, err := kv.PutString(ctx, key, key); err != nil {
			t.Fatal(err)
		}
	}
	const stream, subject = "KV_" + broker.BucketModules, "$KV." + broker.BucketModules + ".b"
	for seq := range uint64(3) { // 0: from the beginning
		if msg, err := b.NextOf(ctx, stream, subject, seq); err != nil || msg.Sequence != 2 || string(msg.Data) != "b" {
			t.Errorf("from %d: %+v, %v", seq, msg, err)
		}
	}
	if _, err := b.NextOf(ctx, stream, subject, 3); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("beyond the last one: %v", err)
	}
	if msg, err := b.LastOf(ctx, stream, subject); err != nil || msg.Sequence != 2 {
		t.Errorf("last: %+v, %v", msg, err)
	}
}
