package process_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

// shown is a program without parts and what it shows of its broker.
type shown struct {
	t     *testing.T
	admin string
	said  lines
}

func show(t *testing.T, srv *natstest.Server, args ...string) *shown {
	t.Helper()
	cfg, remote, rule := allSettings(t, append([]string{"-nats-url", srv.URL()}, args...)...)
	s := &shown{t: t, said: make(lines, 1000)}
	log, started := slog.New(slog.NewTextHandler(s.said, nil)), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	program := process.Program{Name: "test", Sync: rule,
		Dial: func(ctx context.Context) (*nats.Conn, error) { return remote.Dial(ctx, "test", log) },
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			s.admin = env.Admin
			return []lifecycle.Part{{Name: "part", Run: func(ctx context.Context, ready func()) error {
				ready()
				close(started)
				<-ctx.Done()
				return nil
			}}}, nil
		}}
	go func() { ended <- program.Run(ctx, cfg, log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-started
	return s
}

// eventually waits until /readyz has a status and says something, and the metrics have a line.
func (s *shown) eventually(code int, says, metric string) {
	s.t.Helper()
	var got int
	var body, metrics string
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	natstest.Eventually(s.t, func() bool {
		got, body = readyz(s.admin)
		resp, err := client.Get("http://" + s.admin + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		metrics = string(data)
		return got == code && strings.Contains(body, says) && strings.Contains(metrics, metric+"\n")
	}, "%d %q %q, last was %s", code, says, metric, stringer(func() string { return fmt.Sprint(got, body) }))
}

type stringer func() string

func (s stringer) String() string { return s() }

// What a broker acknowledges is worth what its servers do: a process that finds one that does not sync always, or finds out nothing, is not
// ready, and says so in every way, unless it was told otherwise.
func TestDurabilityIsShown(t *testing.T) {
	always, lazy, closed := natstest.Start(t), natstest.Start(t, natstest.Lazy()), natstest.Start(t, natstest.Closed())
	const metric = "triggerd_broker_sync_always "
	for _, test := range []struct {
		name   string
		srv    *natstest.Server
		rule   string
		code   int
		says   string
		metric string
		logs   string
	}{
		{"always", always, "ask", 200, "sync always on natstest (1 of 1 servers answered), -replicas 1", "1", "level=INFO msg=\"broker acknowledges what is on disk\""},
		{"not", lazy, "ask", 503, "natstest does not sync always", "0", "level=ERROR"},
		{"not, declared", lazy, "declared", 503, "natstest does not sync always", "0", "level=ERROR"},
		{"not, ignored", lazy, "ignore", 200, "not sync always, and ignored: natstest", "0", "level=WARN"},
		{"unknown", closed, "ask", 503, "-nats-sync-always declared", "-1", "level=ERROR"},
		{"unknown, declared", closed, "declared", 200, "sync always is declared, no server answered that", "-1", "level=WARN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := show(t, test.srv, "-nats-sync-always", test.rule)
			s.eventually(test.code, test.says, metric+test.metric)
			s.said.await(t, test.logs)
		})
	}
}

// A server that comes back with another configuration is found out when the connection is made again.
func TestDurabilityIsAskedForAgain(t *testing.T) {
	var careless atomic.Bool
	srv := natstest.Start(t, natstest.Tune(func(o *server.Options) { o.SyncAlways = !careless.Load() }))
	s := show(t, srv)
	s.eventually(200, "sync always on natstest", "triggerd_broker_sync_always 1")
	careless.Store(true)
	srv.Restart()
	s.eventually(503, "does not sync always", "triggerd_broker_sync_always 0")
	careless.Store(false)
	srv.Restart()
	s.eventually(200, "sync always on natstest", "triggerd_broker_sync_always 1")
}

func TestDifferencesAreShown(t *testing.T) {
	srv := natstest.Start(t)
	show(t, srv).eventually(200, "]settings: as told", "triggerd_broker_sync_always 1")
	show(t, srv, "-member-ttl", "9s").eventually(200, "max_age of KV_MEMBERS is 6s, not 9s",
		`triggerd_broker_setting_differs{setting="max_age",stream="KV_MEMBERS"} 1`)
}
