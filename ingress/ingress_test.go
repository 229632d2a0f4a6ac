package ingress_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup is a broker with a deployment, and settings with fresh keys.
func setup(t *testing.T) (ingress.Config, ingress.Deps) {
	t.Helper()
	return setupOn(t, natstest.Start(t, natstest.Lazy()).Connect())
}

func setupOn(t *testing.T, conn *nats.Conn) (ingress.Config, ingress.Deps) {
	t.Helper()
	b := ensure(t, conn)
	dir := filepath.Join(t.TempDir(), "keys")
	if err := ingress.EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	var cfg ingress.Config
	args := []string{"-http-addr", "127.0.0.1:0", "-keys-file", ingress.KeysIn(dir).Public}
	if err := config.Load("ingress", args, nil, io.Discard, &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg, ingress.Deps{Broker: b, Registerer: prometheus.NewRegistry(), Health: lifecycle.NewHealth()}
}

// ensure makes a deployment.
func ensure(t *testing.T, conn *nats.Conn) *broker.Broker {
	t.Helper()
	b, err := broker.Ensure(t.Context(), conn, broker.Settings{Partitions: 2, TriggersMaxBytes: 16 << 20, EventsMaxBytes: 16 << 20,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 20, MaxPending: 10, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run serves until the returned function has drained it.
func run(t *testing.T, in *ingress.Ingress) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("drain: %v", err)
		}
	}
}

func TestServesAndDrains(t *testing.T) {
	cfg, deps := setup(t)
	in, err := ingress.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, in)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + in.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("healthz answers %d", resp.StatusCode)
	}
	if statuses, ready := deps.Health.Statuses(); !ready || len(statuses) == 0 {
		t.Errorf("health: %v", statuses)
	}
	stop()
	if _, err := net.Dial("tcp", in.Addr()); err == nil {
		t.Error("the port is still open")
	}
}

// A window that is not longer than callers wait is said, in the log and where people look, and only then.
func TestSaysThatTheWindowIsShort(t *testing.T) {
	cfg, deps := setup(t)
	for _, wait := range []time.Duration{time.Second, broker.DefaultDuplicateWindow} {
		var out bytes.Buffer
		cfg.AppendTimeout, deps.Health, deps.Registerer = wait, lifecycle.NewHealth(), nil
		deps.Logger = slog.New(slog.NewTextHandler(&out, nil))
		in, err := ingress.New(cfg, deps)
		if err != nil {
			t.Fatal(err)
		}
		var statuses []lifecycle.Status
		ready := false
		natstest.Eventually(t, func() bool { statuses, ready = deps.Health.Statuses(); return ready }, "it is known which tokens are revoked")
		run(t, in)()
		short := wait >= broker.DefaultDuplicateWindow
		shown := slices.ContainsFunc(statuses, func(s lifecycle.Status) bool { return strings.Contains(s.Detail, "-duplicate-window") })
		if said := strings.Contains(out.String(), "duplicate window is not longer"); !ready || said != short || shown != short {
			t.Errorf("callers wait %s: ready %v, said %v, shown %v", wait, ready, said, shown)
		}
	}
}

// Two in one process must not share anything; each with its own registry, all linted.
func TestTwoInOneProcess(t *testing.T) {
	cfg, deps := setup(t)
	first, err := ingress.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, first)()
	reg := prometheus.NewRegistry()
	deps.Registerer = reg
	second, err := ingress.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, second)()
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

// What New made before it failed must be gone; goleak sees the goroutines.
func TestNewFailsWithoutLeaving(t *testing.T) {
	cfg, deps := setup(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg.HTTPAddr = taken.Addr().String()
	if _, err := ingress.New(cfg, deps); err == nil || !strings.Contains(err.Error(), "bind http port") {
		t.Errorf("got %v", err)
	}
	cfg.KeysFile, deps.Registerer = "no-such-file", nil
	if _, err := ingress.New(cfg, deps); err == nil {
		t.Error("made without keys")
	}
}

func TestRunThatIsToldAtOnceReleasesEverything(t *testing.T) {
	cfg, deps := setup(t)
	in, err := ingress.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestConfigTellsAllFaults(t *testing.T) {
	var cfg ingress.Config
	err := config.Load("ingress", []string{"-max-vars", "0", "-max-body", "0", "-max-batch-body", "0", "-batches", "0", "-default-wait-time", "-1s", "-append-timeout", "0s", "-append-stall-after", "0s",
		"-keys-url-every", "0s", "-keys-url-timeout", "0s", "-http-drain-timeout", "-1s", "-token-audience", "", "-cache-users", "-1",
		"-rate-limit", "-1", "-rate-burst", "-1", "-rate-accounts", "0", "-max-connections", "0", "-max-requests", "0", "-max-body-bytes", "0", "-imports", "0", "-http-max-header-bytes", "0",
		"-http-read-header-timeout", "0s", "-http-read-timeout", "0s", "-http-write-timeout", "30s", "-http-idle-timeout", "0s", "-http-drain-delay", "-1s"}, nil, io.Discard, &cfg)
	for _, want := range []string{"-keys-file and -keys-url", "keys-url-every", "keys-url-timeout", "max-vars", "max-body", "max-batch-body", "batches", "default-wait-time", "append-timeout", "append-stall-after", "http-drain-timeout", "token-audience", "cache-users",
		"rate is -1", "burst is -1", "rate-accounts", "max-connections", "max-requests", "max-body-bytes", "imports", "http-max-header-bytes", "http-read-header-timeout", "http-read-timeout",
		"http-write-timeout", "http-idle-timeout", "http-drain-delay"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in\n%v", want, err)
		}
	}
}

func TestKeysAndTokenCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var stdout, stderr bytes.Buffer
	if code := ingress.KeysCommand([]string{"-dir", dir}, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), ingress.KeysIn(dir).Public) {
		t.Fatalf("exit code %d, %s, %s", code, stdout.String(), stderr.String())
	}
	stdout.Reset()
	args := []string{"-signing-key", ingress.KeysIn(dir).Signing, "-account", "a", "-scope", "trigger runtime", "-ttl", "24h"}
	if code := ingress.TokenCommand(args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
	if token := strings.TrimSuffix(stdout.String(), "\n"); strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \n") {
		t.Errorf("printed %q", stdout.String())
	}
	if _, err := ingress.IssueToken("no-such-file", "a", "trigger", time.Hour); err == nil {
		t.Error("made a token without a key")
	}
}
