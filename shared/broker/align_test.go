package broker_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// ensureAloud is ensure, and what it says.
func ensureAloud(t *testing.T, nc *nats.Conn, s broker.Settings) (*broker.Broker, string) {
	t.Helper()
	var out bytes.Buffer
	b, err := broker.Ensure(t.Context(), nc, s, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b, out.String()
}

// spoil changes a stream behind everybody's back.
func spoil(t *testing.T, b *broker.Broker, name string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	cfg := config(t, b, name)
	change(&cfg)
	if _, err := b.JS.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// What loses nothing is put right, and said with both values. If nothing was changed, the second look would find it again.
func TestSafeSettingsAreChanged(t *testing.T) {
	nc := natstest.Start(t, natstest.Lazy()).Connect()
	s := settings(1)
	b := ensure(t, nc, s)
	for _, c := range []struct {
		stream, says string
		spoil        func(*jetstream.StreamConfig)
	}{
		{"TRIGGERS-0", "setting=max_bytes have=1048576 want=2147483648 changed=true", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }},
		{"TRIGGERS-0", "setting=max_bytes have=3221225472 want=2147483648 changed=true", func(c *jetstream.StreamConfig) { c.MaxBytes = 3 << 30 }},
		{"TRIGGERS-0", "setting=duplicate_window have=1m0s want=2m0s changed=true", func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }},
		{"TRIGGERS-0", "setting=discard have=DiscardOld want=DiscardNew changed=true", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }},
		{"TRIGGERS-0", "setting=max_msgs have=1000 want=-1 changed=true", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }},
		{"TRIGGERS-0", "setting=max_msgs_per_subject have=9 want=-1 changed=true", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 9 }},
		{"TRIGGERS-0", "setting=max_msg_size have=1000 want=1048576 changed=true", func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }},
		{"EVENTS-0", "setting=max_age have=1h0m0s want=0s changed=true", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"KV_REVOKED", "setting=max_msgs have=10 want=100000 changed=true", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }},
		{"KV_MODULES", "setting=discard have=DiscardOld want=DiscardNew changed=true", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }},
		{"KV_SNAPSHOTS", "setting=max_age have=1h0m0s want=0s changed=true", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"OBJ_SNAPSHOT-DATA", "setting=max_bytes have=4194304 want=8589934592 changed=true", func(c *jetstream.StreamConfig) { c.MaxBytes = 4 << 20 }},
	} {
		spoil(t, b, c.stream, c.spoil)
		again, said := ensureAloud(t, nc, s)
		if want := "stream=" + c.stream + " " + c.says; !strings.Contains(said, want) {
			t.Errorf("log %q does not say %q", said, want)
		}
		if left := again.Differences(); len(left) > 0 {
			t.Errorf("%s: left are %+v", c.says, left)
		}
		if _, said := ensureAloud(t, nc, s); said != "" {
			t.Errorf("%s: the second look says %q", c.says, said)
		}
	}
}

// What could lose data, or cannot be changed, is left as it is, and named as long as it is so.
func TestUnsafeSettingsAreLeftAndNamed(t *testing.T) {
	nc := natstest.Start(t, natstest.Lazy()).Connect()
	s := settings(1)
	b := ensure(t, nc, s)
	if _, err := b.JS.Publish(t.Context(), broker.EventsSubject(0), make([]byte, 900<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JS.Publish(t.Context(), broker.EventsSubject(0), make([]byte, 900<<10)); err != nil {
		t.Fatal(err)
	}
	spoil(t, b, "EVENTS-0", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew })
	spoil(t, b, "KV_MEMBERS", func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Hour, s.MemberTTL })
	spoil(t, b, "KV_CONTROL", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 })
	spoil(t, b, "KV_REVOKED", func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 }) // what is too much is not dropped
	s.EventsMaxBytes, s.Replicas = 1<<20, 3                                       // there is one server
	want := []broker.Difference{
		{Stream: "EVENTS-0", Setting: "discard", Have: "DiscardNew", Want: "DiscardOld"},
		{Stream: "EVENTS-0", Setting: "max_bytes", Have: "536870912", Want: "1048576"},
		{Stream: "EVENTS-0", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_CONTROL", Setting: "max_msgs_per_subject", Have: "5", Want: "1"},
		{Stream: "KV_CONTROL", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_DEPLOYMENT", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_INGRESSES", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_LIMITS", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_MEMBERS", Setting: "max_age", Have: "1h0m0s", Want: "6s"},
		{Stream: "KV_MEMBERS", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_MODULES", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_REVOKED", Setting: "max_msgs", Have: "-1", Want: "100000"},
		{Stream: "KV_REVOKED", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "KV_SNAPSHOTS", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "OBJ_SNAPSHOT-DATA", Setting: "replicas", Have: "1", Want: "3"},
		{Stream: "TRIGGERS-0", Setting: "replicas", Have: "1", Want: "3"},
	}
	for range 2 {
		again, said := ensureAloud(t, nc, s)
		if diff := cmp.Diff(want, again.Differences()); diff != "" {
			t.Errorf("differences (-want +got):\n%s", diff)
		}
		if !strings.Contains(said, "setting=discard have=DiscardNew want=DiscardOld changed=false") ||
			!strings.Contains(said, "replicas > 1 not supported in non-clustered mode") {
			t.Errorf("log says %q", said)
		}
	}
}

// The library finds a bucket by what its stream is. If it made one otherwise than we do, some of its functions would not work on ours.
func TestBucketsAreAsTheLibraryMakesThem(t *testing.T) {
	nc := natstest.Start(t, natstest.Lazy()).Connect()
	ours := ensure(t, nc, settings(1))
	theirs := natstest.Start(t, natstest.Lazy()).JetStream()
	ctx := t.Context()
	for bucket, cfg := range map[string]jetstream.KeyValueConfig{
		broker.BucketModules: {MaxBytes: broker.ModulesMaxBytes}, broker.BucketMembers: {MaxBytes: broker.MembersMaxBytes, TTL: broker.DefaultMemberTTL},
	} {
		cfg.Bucket, cfg.History = bucket, 1
		if _, err := theirs.CreateKeyValue(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		compareStreams(t, ours, theirs, "KV_"+bucket)
	}
	store := jetstream.ObjectStoreConfig{Bucket: broker.StoreSnapshots, Description: "snapshots of the partitions", MaxBytes: broker.DefaultSnapshotsMaxBytes}
	if _, err := theirs.CreateObjectStore(ctx, store); err != nil {
		t.Fatal(err)
	}
	compareStreams(t, ours, theirs, "OBJ_"+broker.StoreSnapshots)
}

func compareStreams(t *testing.T, ours *broker.Broker, theirs jetstream.JetStream, name string) {
	t.Helper()
	s, err := theirs.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.CachedInfo().Config, config(t, ours, name)); diff != "" {
		t.Errorf("stream %s (-theirs +ours):\n%s", name, diff)
	}
}
