package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// A key that comes with an end is gone after it, one that is replaced by one without stays, and what is purged leaves a mark that goes too.
func TestKeysEndByThemselves(t *testing.T) {
	b := ensure(t, natstest.Start(t, natstest.Lazy()).Connect(), settings(1))
	ctx := t.Context()
	put := func(key string, ttl time.Duration) {
		t.Helper()
		if err := b.KVPut(ctx, broker.BucketRevoked, key, []byte("value"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	put("stays", 0)
	put("replaced", time.Second)
	put("replaced", 0)
	put("ends", time.Millisecond) // a second at least
	put("purged", time.Hour)
	if err := b.KVPurge(ctx, broker.BucketRevoked, "purged", time.Second); err != nil {
		t.Fatal(err)
	}
	if v, _, err := b.KVGet(ctx, broker.BucketRevoked, "ends"); err != nil || string(v) != "value" {
		t.Errorf("before its end: %q, %v", v, err)
	}
	if _, _, err := b.KVGet(ctx, broker.BucketRevoked, "purged"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("purged: %v", err)
	}
	natstest.Eventually(t, func() bool {
		s, err := b.JS.Stream(ctx, "KV_REVOKED")
		return err == nil && s.CachedInfo().State.Msgs == 2
	}, "two keys are left, and no mark")
	for _, key := range []string{"stays", "replaced"} {
		if _, _, err := b.KVGet(ctx, broker.BucketRevoked, key); err != nil {
			t.Errorf("key %s: %v", key, err)
		}
	}
}

// A bucket that somebody made without ends of keys gets them.
func TestEndsOfKeysAreAllowedLater(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	nc := srv.Connect()
	_, err := srv.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: broker.BucketRevoked, MaxBytes: broker.RevokedMaxBytes})
	if err != nil {
		t.Fatal(err)
	}
	b, said := ensureAloud(t, nc, settings(1))
	if !strings.Contains(said, "setting=allow_msg_ttl have=false want=true changed=true") {
		t.Errorf("log says %q", said)
	}
	if err := b.KVPut(t.Context(), broker.BucketRevoked, "key", nil, time.Minute); err != nil {
		t.Error(err)
	}
}

// The bucket of revoked tokens is as large as an ingress can hold, and refuses what is more.
func TestRevokedKeysAreCounted(t *testing.T) {
	b := ensure(t, natstest.Start(t, natstest.Lazy()).Connect(), settings(1))
	if c := config(t, b, "KV_REVOKED"); c.MaxMsgs != broker.RevokedMaxKeys || c.Discard != jetstream.DiscardNew || !c.AllowMsgTTL || c.MaxAge != 0 {
		t.Errorf("made with %+v", c)
	}
	spoil(t, b, "KV_REVOKED", func(c *jetstream.StreamConfig) { c.MaxMsgs = 2 })
	for i, key := range []string{"a", "b", "a", "c"} {
		err := b.KVPut(t.Context(), broker.BucketRevoked, key, []byte("value"), 0)
		var api *jetstream.APIError
		if full := key == "c"; full != (errors.As(err, &api) && api.ErrorCode == 10077) || !full && err != nil {
			t.Errorf("put %d: %v", i, err)
		}
	}
}
