package worker

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

const partitions = 3

func ensure(t *testing.T) (*natstest.Server, *broker.Broker) {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	ctx, cancel := context.WithTimeout(context.Background(), natstest.Patience)
	defer cancel()
	b, err := broker.Ensure(ctx, srv.Connect(), broker.Settings{Partitions: partitions, Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19,
		MaxPending: 1000, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return srv, b
}

// start runs a worker until stop is called.
func start(t *testing.T, cfg Config, deps Deps) (w *Worker, stop func()) {
	t.Helper()
	w, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, w.Part()) }()
	t.Cleanup(cancel)
	select {
	case <-w.Ready():
	case <-time.After(natstest.Patience):
		t.Fatal("worker is not ready")
	}
	return w, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func put(t *testing.T, b *broker.Broker, p int, r record.Record) {
	t.Helper()
	batch := record.Batch{Writer: "test", Time: time.Now().UnixMilli(), Count: 1, Payload: r.AppendTo(nil)}
	if _, err := b.JS.PublishMsg(t.Context(), &nats.Msg{Subject: broker.TriggersSubject(p), Header: batch.Header(), Data: batch.Payload}); err != nil {
		t.Fatal(err)
	}
}

func pages(t *testing.T, w *Worker, query string) (list []partition.Status) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.AdminPages()["/partitions"].ServeHTTP(rec, httptest.NewRequest("GET", "/partitions"+query, nil))
	var page struct{ Partitions []partition.Status }
	if err := json.Unmarshal(rec.Body.Bytes(), &page); err != nil || rec.Code != 200 {
		t.Fatalf("page is %d, %v: %s", rec.Code, err, rec.Body)
	}
	return page.Partitions
}

// All partitions run, show themselves, and go on where they were after a drain.
func TestWorkerRunsAllPartitions(t *testing.T) {
	_, b := ensure(t)
	reg, health := prometheus.NewRegistry(), lifecycle.NewHealth()
	cfg := Config{DataDir: t.TempDir()}
	w, stop := start(t, cfg, Deps{Broker: b, Registerer: reg, Health: health})
	if statuses, ready := health.Statuses(); !ready || len(statuses) != partitions+1 {
		t.Errorf("health is %+v, %v", statuses, ready)
	}
	put(t, b, 1, record.Record{Kind: record.Register, Account: []byte("demo"), User: []byte("alice"), Bot: []byte("shop")})
	natstest.Eventually(t, func() bool { return pages(t, w, "")[1].Applied == 2 }, "record is applied")
	before := pages(t, w, "?digest=1")
	for i, s := range before {
		if s.Partition != i || s.State != "serving" || s.Digest == "" || s.DigestSeq == 0 {
			t.Errorf("partition %d shows %+v", i, s)
		}
	}
	if n, err := testutil.GatherAndCount(reg, "triggerd_worker_lag_records"); err != nil || n != partitions {
		t.Errorf("%d series of lag, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	stop()
	w, stop = start(t, cfg, Deps{Broker: b})
	defer stop()
	for i, s := range pages(t, w, "?digest=1") {
		if s.Digest != before[i].Digest || s.CheckpointSeq != before[i].Applied {
			t.Errorf("partition %d came back as %+v, was %+v", i, s, before[i])
		}
	}
}

// A partition that halts is shown by readiness and on its page, and the others go on.
func TestHaltedPartitionLeavesTheOthers(t *testing.T) {
	_, b := ensure(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "worker"), 0o700); err != nil {
		t.Fatal(err)
	}
	newerFile(t, filepath.Join(dir, "worker", "partition-1.db"))
	health := lifecycle.NewHealth()
	w, stop := start(t, Config{DataDir: dir}, Deps{Broker: b, Health: health})
	defer stop()
	list := pages(t, w, "?digest=1")
	if list[0].State != "serving" || list[1].State != "halted" || list[2].State != "serving" {
		t.Errorf("page shows %+v", list)
	}
	statuses, ready := health.Statuses()
	if ready || statuses[1].Err == nil || !strings.Contains(statuses[1].Err.Error(), "to do:") {
		t.Errorf("readiness is %v: %+v", ready, statuses)
	}
}

func TestConfig(t *testing.T) {
	var cfg Config
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	if err := cfg.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	if err := fs.Parse([]string{"-checkpoint-every", "1ms", "-checkpoint-users", "-1", "-overlay-bytes", "1KiB"}); err != nil {
		t.Fatal(err)
	}
	err := cfg.Validate()
	for _, name := range []string{"-checkpoint-every", "-checkpoint-users", "-overlay-bytes"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("faults do not name %s: %v", name, err)
		}
	}
}
