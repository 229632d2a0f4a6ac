package broker_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// Whoever looks learns the deployment from the broker, and leaves no trace.
func TestOpenReadsAndMakesNothing(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	nc := srv.Connect()
	_, err := broker.Open(t.Context(), nc)
	checkRefusal(t, err, broker.ErrNoDeployment, "right broker")
	if n := streams(t, srv.JetStream()); n != 0 {
		t.Fatalf("opening made %d streams", n)
	}
	want := ensure(t, nc, settings(3))
	before := streams(t, srv.JetStream())
	b, err := broker.Open(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	if b.Partitions() != 3 {
		t.Errorf("%d partitions", b.Partitions())
	}
	for p := range 3 {
		if b.LogID(p) != want.LogID(p) {
			t.Errorf("partition %d has log id %s, want %s", p, b.LogID(p), want.LogID(p))
		}
		if err := b.CheckLog(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	if after := streams(t, srv.JetStream()); after != before {
		t.Errorf("%d streams, were %d", after, before)
	}
}

// A deployment that nobody has finished is none.
func TestOpenRefusesAHalfMadeDeployment(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	js := srv.JetStream()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: broker.BucketDeployment})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	put("partitions", "1")
	_, err = broker.Open(t.Context(), srv.Connect())
	checkRefusal(t, err, broker.ErrNoDeployment)
	put("log.0", `{"id":"x","state":"intended"}`)
	_, err = broker.Open(t.Context(), srv.Connect())
	checkRefusal(t, err, broker.ErrNoDeployment, "intended")
	put("partitions", "many")
	if _, err = broker.Open(t.Context(), srv.Connect()); err == nil {
		t.Error("took a count that is none")
	}
}

func streams(t *testing.T, js jetstream.JetStream) int {
	t.Helper()
	info, err := js.AccountInfo(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return info.Streams
}
