package operator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/record"
)

// open runs a command that only opens the deployment at url and calls f.
func open(ctx context.Context, url string, timeout time.Duration, w io.Writer, f func(context.Context, *broker.Broker) error) int {
	s := operator.Settings{Remote: process.Remote{URL: url}, Timeout: timeout}
	return operator.Console{Program: "worker", Command: "look", Stdout: w, Stderr: w}.Run(func(c operator.Console) error {
		return c.Open(ctx, s, f)
	})
}

// deploy makes a deployment on srv.
func deploy(t *testing.T, srv *natstest.Server) {
	t.Helper()
	_, err := broker.Ensure(t.Context(), srv.Connect(), broker.Settings{Partitions: 3, TriggersMaxBytes: 16 << 20, EventsMaxBytes: 16 << 20,
		SnapshotsMaxBytes: 16 << 20, Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	var out bytes.Buffer
	never := func(context.Context, *broker.Broker) error { t.Error("opened what is not there"); return nil }
	if code := open(t.Context(), srv.URL(), time.Minute, &out, never); code != 1 || !strings.Contains(out.String(), "look: open deployment at "+srv.URL()+": ") || !strings.Contains(out.String(), "no deployment here") {
		t.Errorf("without a deployment: %d, %s", code, out.String())
	}
	deploy(t, srv)
	out.Reset()
	var opened *broker.Broker
	code := open(t.Context(), srv.URL(), time.Minute, &out, func(ctx context.Context, b *broker.Broker) error {
		if _, bounded := ctx.Deadline(); !bounded || b.Conn.Opts.Name != "triggerd worker look" || b.Partitions() != 3 {
			t.Errorf("bounded %v, connection %q, %d partitions", bounded, b.Conn.Opts.Name, b.Partitions())
		}
		opened = b
		return errors.New("no luck")
	})
	if code != 1 || out.String() != "look: no luck\n" {
		t.Errorf("%d, %s", code, out.String())
	}
	if !opened.Conn.IsClosed() {
		t.Error("the connection is left open")
	}
	srv.Stop()
	out.Reset()
	if code := open(t.Context(), srv.URL(), 100*time.Millisecond, &out, never); code != 1 || !strings.Contains(out.String(), "look: connect: ") {
		t.Errorf("without a broker: %d, %s", code, out.String())
	}
}

// onRetry calls f when it is logged that something is tried again.
type onRetry struct {
	bytes.Buffer
	f func()
}

func (w *onRetry) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("does not answer, trying again")) && w.f != nil {
		w.f()
		w.f = nil
	}
	return w.Buffer.Write(p)
}

// A broker that is there and does not answer, as without a leader, is tried until it does, or its context ends.
func TestOpenTriesAgain(t *testing.T) {
	dir := t.TempDir()
	first := natstest.Start(t, natstest.Lazy(), natstest.Dir(dir))
	deploy(t, first)
	first.Stop()
	srv := natstest.Start(t, natstest.Lazy(), natstest.Dir(dir), natstest.Tune(func(o *server.Options) { o.JetStream = false }))
	found := func(_ context.Context, b *broker.Broker) error {
		if b.Partitions() != 3 {
			return errors.New("another deployment")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := &onRetry{f: cancel}
	if code := open(ctx, srv.URL(), time.Minute, out, found); code != 1 || !strings.Contains(out.String(), "trying again") ||
		!strings.Contains(out.String(), "look: open deployment at "+srv.URL()+", for 1m0s: ") || !strings.Contains(out.String(), operator.NoLeader+"; to do: "+operator.FindServers) {
		t.Errorf("silent: %d, %s", code, out.String())
	}
	out = &onRetry{f: func() {
		if err := srv.Server().EnableJetStream(&server.JetStreamConfig{StoreDir: dir, MaxStore: 1 << 30, MaxMemory: 1 << 20}); err != nil {
			t.Error(err)
		}
	}}
	if code := open(t.Context(), srv.URL(), time.Minute, out, found); code != 0 {
		t.Errorf("%d, %s", code, out.String())
	}
}
