package revocation

import (
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect is access to the deployment of srv, over url.
func connect(t *testing.T, srv *natstest.Server, url string) *broker.Broker {
	t.Helper()
	b, err := broker.Ensure(t.Context(), srv.ConnectTo(url), broker.Settings{Partitions: 1, TriggersMaxBytes: 16 << 20, EventsMaxBytes: 16 << 20,
		SnapshotsMaxBytes: 16 << 20, Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setUp(t *testing.T) (*natstest.Server, *broker.Broker) {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	return srv, connect(t, srv, srv.URL())
}

// newSet is a listed Set that lives as long as the test.
func newSet(t *testing.T, b *broker.Broker, cfg Config, log io.Writer) *Set {
	t.Helper()
	s, err := New(cfg, Deps{Broker: b, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
