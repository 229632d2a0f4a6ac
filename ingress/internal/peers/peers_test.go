package peers_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/ingress/internal/peers"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ensure(t *testing.T, conn *nats.Conn) *broker.Broker {
	t.Helper()
	b, err := broker.Ensure(t.Context(), conn, broker.Settings{Partitions: 1, MemberTTL: time.Second,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 20, MaxPending: 10, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func start(t *testing.T, b *broker.Broker) *peers.Peers {
	t.Helper()
	p, err := peers.New(peers.Config{}, peers.Deps{Broker: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(t.Context()) })
	return p
}

func want(t *testing.T, n int, all ...*peers.Peers) {
	t.Helper()
	for _, p := range all {
		natstest.Eventually(t, func() bool { return p.Count() == n }, "%d live ingresses, not %d", p.Count(), n)
	}
}

func close(t *testing.T, p *peers.Peers) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Who comes is counted, and who leaves is not: its key is gone, long before it would expire.
func TestWhoComesAndLeaves(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	b := ensure(t, srv.Connect())
	first, second, third := start(t, b), start(t, b), start(t, b)
	want(t, 3, first, second, third)
	close(t, second)
	bucket, err := b.JS.KeyValue(t.Context(), broker.BucketIngresses)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := bucket.Keys(t.Context()); err != nil || len(keys) != 2 {
		t.Errorf("keys %v, %v", keys, err)
	}
	want(t, 2, first, third)
}

// Who was killed says nothing: its connection is cut, and its key expires.
func TestWhoIsKilledIsMissed(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	b := ensure(t, srv.Connect())
	proxy := srv.Proxy()
	first, doomed := start(t, b), start(t, ensure(t, srv.ConnectTo(proxy.URL())))
	want(t, 2, first, doomed)
	proxy.Refuse(true)
	proxy.Cut()
	want(t, 1, first)
	// The one that was cut off knows nothing new, and so nothing else.
	want(t, 2, doomed)
	proxy.Refuse(false)
	want(t, 2, first, doomed)
}

// While the broker is away the number stays, and so it does when it is back. (What a list without the others means is the roll's: TestRoll.)
func TestBrokerThatIsAwayChangesNothing(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	b := ensure(t, srv.Connect())
	said := make(lines, 1000)
	first, err := peers.New(peers.Config{}, peers.Deps{Broker: b, Log: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer close(t, first)
	want(t, 2, first, start(t, ensure(t, srv.Connect())))
	for len(said) > 0 {
		<-said
	}
	srv.Stop()
	srv.Boot()
	natstest.Eventually(t, func() bool {
		bucket, err := b.JS.KeyValue(t.Context(), broker.BucketIngresses)
		if err != nil {
			return false
		}
		keys, err := bucket.Keys(t.Context())
		return err == nil && len(keys) == 2
	}, "keys are put anew")
	for len(said) > 0 {
		if line := <-said; strings.Contains(line, "live ingresses changed") {
			t.Error(line)
		}
	}
}

// lines is a writer that hands on what is written to it.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestMetrics(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	reg := prometheus.NewRegistry()
	p, err := peers.New(peers.Config{}, peers.Deps{Broker: ensure(t, srv.Connect()), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer close(t, p)
	if problems, err := testutil.GatherAndLint(reg, "triggerd_ingress_peers", "triggerd_ingress_peer_renew_failures_total"); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if n, err := testutil.GatherAndCount(reg, "triggerd_ingress_peers", "triggerd_ingress_peer_renew_failures_total"); err != nil || n != 2 {
		t.Errorf("%d metrics, %v", n, err)
	}
}
