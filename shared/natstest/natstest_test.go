package natstest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/natstest"
)

func TestMain(m *testing.M) {
	natstest.BeServer()
	goleak.VerifyTestMain(m)
}

func makeStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s"}, Storage: jetstream.FileStorage, MaxBytes: 1 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// publish stores n messages. For a moment after a stream's election, not every server knows the way to its leader.
func publish(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	const wait = 20 * time.Millisecond
	patient := []jetstream.PublishOpt{jetstream.WithRetryWait(wait), jetstream.WithRetryAttempts(int(natstest.Patience / wait))}
	for i := range n {
		if _, err := js.Publish(t.Context(), "s", fmt.Appendf(nil, "%d", i), patient...); err != nil {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	for {
		try, end := context.WithTimeout(ctx, natstest.Patience/10) // an answer that is lost with the server never comes
		s, err := js.Stream(try, "S")
		end()
		if err == nil {
			return s.CachedInfo().State.Msgs
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestRestartKeepsDataAndAddress(t *testing.T) {
	srv := natstest.Start(t)
	js := srv.JetStream()
	makeStream(t, js)
	publish(t, js, 5)
	url := srv.URL()
	srv.Restart()
	if srv.URL() != url {
		t.Fatalf("address moved from %s to %s", url, srv.URL())
	}
	if n := count(t, js); n != 5 {
		t.Fatalf("%d messages after the restart, want 5", n)
	}
}

func TestKillKeepsWhatWasAcknowledged(t *testing.T) {
	srv := natstest.Start(t)
	js := srv.JetStream()
	makeStream(t, js)
	for round := 1; round <= 3; round++ {
		publish(t, js, 20)
		srv.Kill()
		srv.Boot()
		if n := count(t, js); n != uint64(20*round) {
			t.Fatalf("%d messages after kill %d, want %d", n, round, 20*round)
		}
	}
}

func TestInProcessConnection(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	if err := srv.ConnectInProcess().FlushTimeout(natstest.Patience); err != nil {
		t.Fatal(err)
	}
}

func TestProxyForwardsAndCuts(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	px := srv.Proxy()
	nc := srv.ConnectTo(px.URL())
	if err := nc.FlushTimeout(natstest.Patience); err != nil {
		t.Fatal(err)
	}
	status := nc.StatusChanged(nats.RECONNECTING)
	px.Refuse(true)
	px.Cut()
	<-status
	if nc.IsConnected() {
		t.Fatal("connected although refused")
	}
	px.Refuse(false)
	natstest.Eventually(t, nc.IsConnected, "reconnected")
}

func TestProxyHoldsAnswers(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	px := srv.Proxy()
	nc := srv.ConnectTo(px.URL())
	px.Hold(natstest.ToClient)
	flushed := make(chan error, 1)
	go func() { flushed <- nc.FlushTimeout(natstest.Patience) }()
	natstest.Eventually(t, func() bool { return px.Held(natstest.ToClient) > 0 }, "the answer is held back")
	select {
	case err := <-flushed:
		t.Fatalf("the answer came through: %v", err)
	default:
	}
	px.Release()
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
}

// What a client sent before it gave its connection up reaches the server when the proxy is told so, and not before.
func TestProxyDeliversLateCopyOfADeadConnection(t *testing.T) {
	srv := natstest.Start(t)
	direct := srv.JetStream()
	makeStream(t, direct)
	px := srv.Proxy()
	nc := srv.ConnectTo(px.URL())
	if err := nc.FlushTimeout(natstest.Patience); err != nil {
		t.Fatal(err)
	}
	px.Hold(natstest.ToServer)
	if err := nc.Publish("s", []byte("late")); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool { return px.Held(natstest.ToServer) > 0 }, "the message is held back")
	again := nc.StatusChanged(nats.CONNECTED)
	px.CutClients()
	<-again
	if err := nc.FlushTimeout(natstest.Patience); err != nil {
		t.Fatalf("the second connection does not flow: %v", err)
	}
	if n := count(t, direct); n != 0 {
		t.Fatalf("%d messages before the release, want 0", n)
	}
	px.Release()
	natstest.Eventually(t, func() bool { return count(t, direct) == 1 }, "the late copy")
}

func TestProxyCloseEndsHeldConnections(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	px := srv.Proxy()
	nc := srv.ConnectTo(px.URL(), nats.ReconnectWait(time.Millisecond))
	px.Hold()
	if err := nc.Publish("s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	px.Close()
}

// A stream comes back from a backup as it was, sequences and all, also into another server, and without what came after it.
func TestBackup(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	conn, js := srv.Connect(), srv.JetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Metadata: map[string]string{"who": "me"}}); err != nil {
		t.Fatal(err)
	}
	put := func(n int) {
		for range n {
			if _, err := js.Publish(t.Context(), "s", make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(7)
	b := natstest.TakeBackup(t, conn, "S")
	put(3)
	if err := js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	other := natstest.Start(t, natstest.Lazy())
	for _, s := range []*natstest.Server{srv, other} {
		b.Restore(t, s.Connect())
		stream, err := s.JetStream().Stream(t.Context(), "S")
		if err != nil {
			t.Fatal(err)
		}
		info := stream.CachedInfo()
		if info.State.LastSeq != 7 || info.State.Msgs != 7 || info.Config.Metadata["who"] != "me" {
			t.Errorf("it came back as %+v, %+v", info.State, info.Config)
		}
	}
}
