package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

func replicated(partitions int) broker.Settings {
	s := settings(partitions)
	s.Replicas, s.TriggersMaxBytes, s.EventsMaxBytes = 3, 64<<20, 64<<20
	return s
}

// Many processes start at once, and all agree. The deployment is whole with the leader of a stream killed, and the reads that promise to
// see everything do.
func TestEnsureOnACluster(t *testing.T) {
	c := natstest.StartCluster(t)
	const processes = 6
	brokers := make([]*broker.Broker, processes)
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	var all sync.WaitGroup
	for i := range brokers {
		nc := c.Connect()
		all.Go(func() {
			b, err := broker.Ensure(ctx, nc, replicated(2), slog.New(slog.DiscardHandler))
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
	for _, b := range brokers {
		if d := b.Differences(); len(d) > 0 {
			t.Errorf("differences %+v", d)
		}
		for p := range 2 {
			if b.LogID(p) != brokers[0].LogID(p) {
				t.Errorf("two ids of log %d", p)
			}
		}
	}
	b := brokers[0]
	ack := patientPublish(t, b, broker.EventsSubject(0))
	c.Leader(b.JS, broker.EventsStream(0)).Kill()
	natstest.Eventually(t, func() bool {
		last, err := b.LastEvents(t.Context(), 0)
		return err == nil && last.Sequence == ack.Sequence
	}, "the last event is read from the new leader")
	ensure(t, c.Connect(), replicated(2))
	for p := range 2 {
		if err := b.CheckLog(t.Context(), p); err != nil {
			t.Error(err)
		}
		checkFirstRecord(t, b, p)
	}
}

// patientPublish repeats until a leader takes it.
func patientPublish(t *testing.T, b *broker.Broker, subject string) (ack *jetstream.PubAck) {
	t.Helper()
	natstest.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience/10)
		defer cancel()
		var err error
		ack, err = b.JS.Publish(ctx, subject, []byte("[]"))
		return err == nil
	}, "%s is published to", subject)
	return ack
}

// A deployment that was made with one copy gets three when it is told so, streams and buckets alike; fewer is a person's to decide.
func TestReplicasAreRaised(t *testing.T) {
	c := natstest.StartCluster(t)
	single := replicated(1)
	single.Replicas = 1
	ensure(t, c.Connect(), single)
	b := ensure(t, c.Connect(), replicated(1))
	if d := b.Differences(); len(d) > 0 {
		t.Errorf("left are %+v", d)
	}
	for _, name := range []string{broker.TriggersStream(0), broker.EventsStream(0), "KV_DEPLOYMENT", "KV_MEMBERS", "OBJ_" + broker.StoreSnapshots} {
		natstest.Eventually(t, func() bool {
			s, err := b.JS.Stream(t.Context(), name)
			if err != nil {
				return false
			}
			peers := s.CachedInfo().Cluster.Replicas
			return len(peers) == 2 && !slices.ContainsFunc(peers, func(p *jetstream.PeerInfo) bool { return !p.Current })
		}, "stream %s has three copies", name)
	}
	back := ensure(t, c.Connect(), single)
	if d := back.Differences(); len(d) != 2+len(broker.SharedStreams()) || d[0].Setting != "replicas" || d[0].Have != "3" {
		t.Errorf("three copies, one wanted: %+v", d)
	}
}

func TestAskSync(t *testing.T) {
	alone := natstest.Start(t)
	lazy := natstest.Start(t, natstest.Lazy())
	mixed := natstest.StartCluster(t, natstest.LazyMember(1))
	for _, test := range []struct {
		name string
		nc   *nats.Conn
		want broker.Sync
	}{
		{"one that does", alone.Connect(), broker.Sync{Always: []string{"natstest"}, Servers: 1}},
		{"one that does not", lazy.Connect(), broker.Sync{Not: []string{"natstest"}, Servers: 1}},
		{"one of three does not", mixed.Connect(), broker.Sync{Always: []string{"n1", "n3"}, Not: []string{"n2"}, Servers: 3}},
	} {
		s := settings(1)
		s.Replicas = test.want.Servers
		b := ensure(t, test.nc, s)
		got, err := b.AskSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	b := ensure(t, mixed.Connect(), replicated(1))
	mixed.Members()[0].Kill()
	want := broker.Sync{Always: []string{"n3"}, Not: []string{"n2"}, Servers: 3}
	natstest.Eventually(t, func() bool {
		got, err := b.AskSync(t.Context())
		return err == nil && got.Equal(want)
	}, "the two that are left say %+v", want)
}

// An account that does not import the question gets no answer, and that is said.
func TestAskSyncOfNobody(t *testing.T) {
	srv := natstest.Start(t, natstest.Closed())
	b := ensure(t, srv.Connect(), settings(1))
	if got, err := b.AskSync(t.Context()); err != nil || got.Known() {
		t.Errorf("got %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.AskSync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled question: %v", err)
	}
}
