package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) {
	natstest.BeServer()
	goleak.VerifyTestMain(m)
}

var limits = record.Limits{Machine: 1, MaxUserBytes: 524288, MaxPending: 1000, OutcomesKeep: 3600000}

func settings(partitions int) broker.Settings {
	return broker.Settings{Partitions: partitions, Limits: limits, MissingFor: 200 * time.Millisecond}
}

func ensure(t *testing.T, nc *nats.Conn, s broker.Settings) *broker.Broker {
	t.Helper()
	b, err := broker.Ensure(t.Context(), nc, s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func refused(t *testing.T, nc *nats.Conn, s broker.Settings, want error, mentions ...string) {
	t.Helper()
	_, err := broker.Ensure(t.Context(), nc, s, slog.New(slog.DiscardHandler))
	checkRefusal(t, err, want, mentions...)
}

func checkRefusal(t *testing.T, err, want error, mentions ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, m := range mentions {
		if !strings.Contains(err.Error(), m) {
			t.Errorf("error %q does not mention %q", err, m)
		}
	}
}

func TestEnsureMakesADeployment(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(2))
	for p := range 2 {
		if err := b.CheckLog(t.Context(), p); err != nil {
			t.Error(err)
		}
		checkFirstRecord(t, b, p)
		if last, err := b.LastEvents(t.Context(), p); last != nil || err != nil {
			t.Errorf("last events are %v, %v, want none", last, err)
		}
	}
	if b.LogID(0) == b.LogID(1) {
		t.Error("two logs with one id")
	}
}

func checkFirstRecord(t *testing.T, b *broker.Broker, p int) {
	t.Helper()
	last, err := b.LastSeq(t.Context(), p)
	if err != nil || last != 1 {
		t.Fatalf("last sequence %d, %v, want 1", last, err)
	}
	msg, err := b.Message(t.Context(), p, 1)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := record.ParseBatch(msg.Header, msg.Data)
	if err != nil {
		t.Fatal(err)
	}
	var r record.Record
	if err := r.Decode(batch.Payload, record.Version); err != nil {
		t.Fatal(err)
	}
	if r.Kind != record.Configure || r.Limits != limits || batch.Number != 0 {
		t.Errorf("first record is %+v in batch %d, want the limits in batch 0", r, batch.Number)
	}
}

// Every stream reserves its bytes, keeps what it accepted and is synced to files: a setting missing here loses data later.
func TestStreamSettings(t *testing.T) {
	nc := natstest.Start(t).Connect()
	s := settings(1)
	s.TriggersMaxBytes, s.EventsMaxBytes, s.DuplicateWindow = 5<<20, 3<<20, time.Second
	b := ensure(t, nc, s)
	triggers, events := config(t, b, broker.TriggersStream(0)), config(t, b, broker.EventsStream(0))
	if triggers.MaxBytes != 5<<20 || triggers.Discard != jetstream.DiscardNew || triggers.Duplicates != time.Second || triggers.AllowDirect {
		t.Errorf("log is made with %+v", triggers)
	}
	if events.MaxBytes != 3<<20 || events.Discard != jetstream.DiscardOld {
		t.Errorf("events are made with %+v", events)
	}
	for _, c := range []jetstream.StreamConfig{triggers, events} {
		if c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy || !c.DenyDelete || c.DenyPurge {
			t.Errorf("stream is made with %+v", c)
		}
	}
	for _, bucket := range []string{broker.BucketDeployment, broker.BucketModules} {
		if c := config(t, b, "KV_"+bucket); c.MaxBytes <= 0 || c.Storage != jetstream.FileStorage {
			t.Errorf("bucket %s is made with %+v", bucket, c)
		}
	}
}

func config(t *testing.T, b *broker.Broker, name string) jetstream.StreamConfig {
	t.Helper()
	s, err := b.JS.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

func TestReservedBytesIsWhatTheServerReserves(t *testing.T) {
	s := settings(1) // of several made at once the server lets the last one slip through
	srv := natstest.Start(t, natstest.MaxStore(s.ReservedBytes()))
	ensure(t, srv.Connect(), s)
	small := natstest.Start(t, natstest.MaxStore(s.ReservedBytes()-1))
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	if _, err := broker.Ensure(ctx, small.Connect(), s, slog.New(slog.DiscardHandler)); err == nil || ctx.Err() != nil {
		t.Errorf("one byte less than reserved: %v, want a refusal at once", err)
	}
}

func TestEnsureAgainChangesNothing(t *testing.T) {
	srv := natstest.Start(t)
	first := ensure(t, srv.Connect(), settings(2))
	srv.Restart()
	again := ensure(t, srv.Connect(), settings(2))
	for p := range 2 {
		if first.LogID(p) != again.LogID(p) {
			t.Errorf("log id of partition %d changed", p)
		}
		checkFirstRecord(t, again, p)
	}
}

// Many processes start at once: one log each, one first record each, all agree.
func TestEnsureFromManyAtOnce(t *testing.T) {
	const processes, partitions = 12, 3
	srv := natstest.Start(t)
	brokers := make([]*broker.Broker, processes)
	var all sync.WaitGroup
	for i := range brokers {
		nc := srv.Connect()
		all.Go(func() {
			b, err := broker.Ensure(t.Context(), nc, settings(partitions), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Errorf("process %d: %v", i, err)
			}
			brokers[i] = b
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for p := range partitions {
		checkFirstRecord(t, brokers[0], p)
		for _, b := range brokers {
			if b.LogID(p) != brokers[0].LogID(p) {
				t.Errorf("partition %d has two log ids", p)
			}
		}
	}
}

func bytesOf(t *testing.T, b *broker.Broker, stream string) int64 {
	t.Helper()
	s, err := b.JS.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config.MaxBytes
}

// Whoever comes with another count is at the wrong broker, or has mistyped: nothing of the deployment is changed for him.
func TestOtherPartitionCountIsRefused(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(2))
	before := bytesOf(t, b, broker.SnapshotsStream)
	typo := settings(3)
	typo.SnapshotsMaxBytes = 2 * before
	refused(t, nc, typo, broker.ErrPartitions, "2 partitions", "set to 3")
	if now := bytesOf(t, b, broker.SnapshotsStream); now != before {
		t.Errorf("it was refused, and has changed the snapshots' store from %d to %d bytes", before, now)
	}
}

// The count is written first: a process with another one makes nothing, even if the first died before it made a stream.
func TestPartitionCountComesFirst(t *testing.T) {
	srv := natstest.Start(t)
	js := srv.JetStream()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: broker.BucketDeployment, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "partitions", "2"); err != nil {
		t.Fatal(err)
	}
	refused(t, srv.Connect(), settings(3), broker.ErrPartitions, "2 partitions", "set to 3")
	if _, err := js.Stream(t.Context(), broker.TriggersStream(0)); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream was made: %v", err)
	}
}

// The count is in the streams too: a bucket that was lost or belongs to another deployment does not hide it.
func TestOtherPartitionCountInStreamIsRefused(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(2))
	kv, err := b.JS.KeyValue(t.Context(), broker.BucketDeployment)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "partitions", "1"); err != nil {
		t.Fatal(err)
	}
	refused(t, nc, settings(1), broker.ErrPartitions, "2 partitions", "set to 1")
}

func TestMissingStreamIsNeverMadeAgain(t *testing.T) {
	for _, name := range []string{broker.TriggersStream(1), broker.EventsStream(1)} {
		t.Run(name, func(t *testing.T) {
			nc := natstest.Start(t).Connect()
			b := ensure(t, nc, settings(2))
			if err := b.JS.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			checkRefusal(t, b.CheckLog(t.Context(), 1), broker.ErrLogMissing, name, b.LogID(1))
			again := ensure(t, nc, settings(2))
			checkRefusal(t, again.CheckLog(t.Context(), 1), broker.ErrLogMissing, name, b.LogID(1), "restore", "log.1", "DEPLOYMENT")
			if _, err := b.JS.Stream(t.Context(), name); !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Errorf("stream after the refusal: %v, want none", err)
			}
			if err := again.CheckLog(t.Context(), 0); err != nil {
				t.Errorf("the other partition: %v", err)
			}
		})
	}
}

// A stream made by hand in place of a lost one has the name, not the identity.
func TestForeignStreamIsRefused(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(1))
	name := broker.TriggersStream(0)
	cfg := config(t, b, name)
	cfg.Metadata = map[string]string{"triggerd-log-id": "another"}
	if err := b.JS.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JS.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	checkRefusal(t, b.CheckLog(t.Context(), 0), broker.ErrLogForeign, name, b.LogID(0), "another")
	refused(t, nc, settings(1), broker.ErrLogForeign, name, b.LogID(0), "another")
}

// The bucket is gone, the streams are not: the logs are not taken for new ones.
func TestLostBucketIsRefused(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(1))
	if err := b.JS.DeleteKeyValue(t.Context(), broker.BucketDeployment); err != nil {
		t.Fatal(err)
	}
	refused(t, nc, settings(1), broker.ErrLogForeign, broker.TriggersStream(0), b.LogID(0))
}

func TestReadsFromTheLeader(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(1))
	ctx := t.Context()
	if _, err := b.Message(ctx, 0, 99); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("message 99: %v, want not found", err)
	}
	msg := nats.NewMsg(broker.EventsSubject(0))
	msg.Header.Set("Some", "header")
	msg.Data = []byte("[]")
	ack, err := b.JS.PublishMsg(ctx, msg)
	if err != nil {
		t.Fatal(err)
	}
	last, err := b.LastEvents(ctx, 0)
	if err != nil || last.Sequence != ack.Sequence || last.Header.Get("Some") != "header" || string(last.Data) != "[]" || last.Time.IsZero() {
		t.Errorf("last events %+v, %v", last, err)
	}
}

func TestKVGet(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(1))
	ctx := t.Context()
	kv, err := b.JS.KeyValue(ctx, broker.BucketModules)
	if err != nil {
		t.Fatal(err)
	}
	want, err := kv.PutString(ctx, "key", "value")
	if err != nil {
		t.Fatal(err)
	}
	if v, rev, err := b.KVGet(ctx, broker.BucketModules, "key"); string(v) != "value" || rev != want || err != nil {
		t.Errorf("got %q at %d, %v", v, rev, err)
	}
	if err := kv.Delete(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"key", "never"} {
		if _, _, err := b.KVGet(ctx, broker.BucketModules, key); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("key %s: %v, want not found", key, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	err := broker.Settings{Partitions: 0, Replicas: 2, TriggersMaxBytes: 1, EventsMaxBytes: -1, DuplicateWindow: 1}.Validate()
	for _, want := range []string{"partitions 0", "replicas 2", "-triggers-max-bytes 1", "-events-max-bytes -1", "window 1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("faults %v do not name %q", err, want)
		}
	}
}
