package broker_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// What servers of a cluster say of a log: whoever answers leaves itself out of the replicas, unless there is no leader.
const (
	saidWithoutLeader = `{"state":{"first_seq":1,"last_seq":5},"cluster":{"name":"c","raft_group":"g","replicas":[{"name":"n1"},{"name":"n2"},{"name":"n3"}]}}`
	saidByFollower    = `{"state":{"first_seq":1,"last_seq":6},"cluster":{"name":"c","raft_group":"g","leader":"n2","replicas":[{"name":"n2"},{"name":"n3"}]}}`
	saidByLeader      = `{"state":{"first_seq":2,"last_seq":9},"cluster":{"name":"c","raft_group":"g","leader":"n2","replicas":[{"name":"n1"},{"name":"n3"}]}}`
	saidByOnlyCopy    = `{"state":{"first_seq":2,"last_seq":9},"cluster":{"name":"c","leader":"n2"}}`
	saidAlone         = `{"state":{"first_seq":2,"last_seq":9}}`
)

// says answers questions about TRIGGERS-0 in a server without JetStream: one after the other, the last one for ever.
func says(t *testing.T, answers ...string) (b *broker.Broker, asked *atomic.Int64) {
	t.Helper()
	srv := natstest.Start(t, natstest.Tune(func(o *server.Options) { o.JetStream = false }))
	asked = &atomic.Int64{}
	cluster := srv.Connect()
	_, err := cluster.Subscribe("$JS.API.STREAM.INFO.TRIGGERS-0", func(m *nats.Msg) {
		n := min(int(asked.Add(1)), len(answers))
		if err := m.Respond([]byte(answers[n-1])); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = cluster.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &broker.Broker{Conn: srv.Connect()}, asked
}

// Where a log begins and ends is not for a server to say that does not lead it: it may not have heard of what was acknowledged.
func TestOnlyTheLeaderIsBelieved(t *testing.T) {
	for name, last := range map[string]string{"leader": saidByLeader, "only copy": saidByOnlyCopy, "server on its own": saidAlone} {
		t.Run(name, func(t *testing.T) {
			b, asked := says(t, saidWithoutLeader, saidByFollower, last)
			first, end, err := b.Extent(t.Context(), 0)
			if first != 2 || end != 9 || err != nil {
				t.Errorf("the log is %d to %d, %v, want 2 to 9", first, end, err)
			}
			if asked.Load() != 3 {
				t.Errorf("asked %d times", asked.Load())
			}
			if seq, err := b.LastSeq(t.Context(), 0); seq != 9 || err != nil {
				t.Errorf("last is %d, %v", seq, err)
			}
		})
	}
}

// If no leader answers within the time there is, that is the answer.
func TestNobodyLeads(t *testing.T) {
	for _, answer := range []string{saidWithoutLeader, saidByFollower} {
		b, asked := says(t, answer)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := b.LastSeq(ctx, 0)
			ended <- err
		}()
		natstest.Eventually(t, func() bool { return asked.Load() > 1 }, "it is asked again")
		cancel()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "no leader") {
			t.Errorf("error is %v", err)
		}
	}
}

// The broker says of a message that it cannot read what it says of one that is not there. So long as its index knows one, it is not missing.
func TestUnreadIsNotMissing(t *testing.T) {
	srv := natstest.Start(t, natstest.Tune(func(o *server.Options) { o.JetStream = false }))
	cluster := srv.Connect()
	held := &atomic.Int64{}
	held.Store(1)
	for subject, answer := range map[string]func() string{
		"$JS.API.STREAM.MSG.GET.*": func() string { return `{"error":{"code":404,"err_code":10037,"description":"no message found"}}` },
		"$JS.API.STREAM.INFO.*": func() string {
			return fmt.Sprintf(`{"state":{"last_seq":7,"subjects":{"events.0":%d,"$KV.CONTROL.pause.0":%[1]d}}}`, held.Load())
		},
	} {
		if _, err := cluster.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer())) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Flush(); err != nil {
		t.Fatal(err)
	}
	b := &broker.Broker{Conn: srv.Connect()}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if msg, err := b.LastEvents(ctx, 0); err == nil {
		t.Errorf("last events are %v", msg)
	}
	if _, _, err := b.KVGet(ctx, broker.BucketControl, "pause.0"); err == nil || strings.Contains(err.Error(), jetstream.ErrKeyNotFound.Error()) {
		t.Errorf("key: %v", err)
	}
	held.Store(0)
	if msg, err := b.LastEvents(ctx, 0); msg != nil || err != nil {
		t.Errorf("last events of none are %v, %v", msg, err)
	}
	if _, _, err := b.KVGet(ctx, broker.BucketControl, "pause.0"); err == nil || !strings.Contains(err.Error(), jetstream.ErrKeyNotFound.Error()) {
		t.Errorf("key that is not there: %v", err)
	}
}
