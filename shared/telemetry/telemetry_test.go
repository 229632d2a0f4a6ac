package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, h http.Handler, target string, header ...string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

func TestRegistryIsLintedAndKnowsItsBuild(t *testing.T) {
	reg := telemetry.NewRegistry()
	if n, err := testutil.GatherAndCount(reg, "triggerd_build_info"); err != nil || n != 1 {
		t.Errorf("triggerd_build_info: %d, %v", n, err)
	}
	problems, err := testutil.GatherAndLint(reg, "triggerd_build_info")
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if n, err := testutil.GatherAndCount(reg, name); err != nil || n != 1 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// Both forms must be there: dashboards use either.
func TestHistogramIsClassicAndNative(t *testing.T) {
	h := prometheus.NewHistogram(telemetry.Histogram("triggerd_test_seconds", "Test.", []float64{1, 2}))
	h.Observe(1.5)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(h)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := families[0].GetMetric()[0].GetHistogram()
	if len(got.GetBucket()) != 2 || len(got.GetPositiveSpan()) == 0 {
		t.Errorf("classic buckets %d, native spans %d", len(got.GetBucket()), len(got.GetPositiveSpan()))
	}
}

func TestLivezAsksNobody(t *testing.T) {
	health := lifecycle.NewHealth()
	health.Register("broker", func() (string, error) {
		t.Error("a check was run")
		return "", errors.New("away")
	})
	if code, body := get(t, telemetry.AdminHandler(telemetry.NewRegistry(), health, nil), "/livez"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("got %d %q", code, body)
	}
}

func TestReadyz(t *testing.T) {
	var fault error
	health := lifecycle.NewHealth()
	health.Register("broker", func() (string, error) { return "sync always", nil })
	health.Register("worker", func() (string, error) { return "1 of 5 serve", fault })
	h := telemetry.AdminHandler(telemetry.NewRegistry(), health, nil)
	expect := func(target string, wantCode int, want string) {
		t.Helper()
		if code, body := get(t, h, target); code != wantCode || body != want {
			t.Errorf("%s: got %d %q, want %d %q", target, code, body, wantCode, want)
		}
	}
	expect("/readyz", 200, "ok\n")
	expect("/readyz?verbose", 200, "[+]broker: sync always\n[+]worker: 1 of 5 serve\nok\n")
	fault = errors.New("partition 3 is halted")
	expect("/readyz", 503, "not ready\n")
	expect("/readyz?verbose", 503, "[+]broker: sync always\n[-]worker: 1 of 5 serve: partition 3 is halted\nnot ready\n")
	fault = nil
	health.Drain()
	expect("/readyz?verbose", 503, "[-]lifecycle: draining\n[+]broker: sync always\n[+]worker: 1 of 5 serve\nnot ready\n")
}

func TestAdminPages(t *testing.T) {
	pages := map[string]http.Handler{"GET /partitions": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "none") })}
	h := telemetry.AdminHandler(telemetry.NewRegistry(), lifecycle.NewHealth(), pages)
	for target, want := range map[string]string{
		"/metrics": "triggerd_build_info{", "/partitions": "none", "/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile",
	} {
		if code, body := get(t, h, target); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d, %q not in it", target, code, want)
		}
	}
	if code, body := get(t, h, "/metrics", "Accept", "application/openmetrics-text"); code != http.StatusOK || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("OpenMetrics: got %d, ends %q", code, body[max(0, len(body)-20):])
	}
	if code, _ := get(t, h, "/"); code != http.StatusNotFound {
		t.Errorf("/: got %d", code)
	}
}

func TestAdminServesAndDrains(t *testing.T) {
	admin, err := telemetry.NewAdmin("127.0.0.1:0", telemetry.AdminHandler(telemetry.NewRegistry(), nil, nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- lifecycle.Run(ctx, lifecycle.Part{Name: "admin", Run: admin.Run}) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + admin.Addr() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %d", resp.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := telemetry.NewAdmin("127.0.0.1:99999", nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("bound a port that cannot be")
	}
}

func TestLogConfig(t *testing.T) {
	var c telemetry.LogConfig
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	c.RegisterFlags(fs)
	if err := fs.Parse([]string{"-log-format", "json", "-log-level", "warn"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := c.Logger(&out)
	log.Info("quiet")
	log.Warn("partition halted", "partition", 3)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "partition halted" || line["partition"] != 3.0 {
		t.Errorf("%v: %q", err, out.String())
	}
	c.Format = "xml"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("Validate: %v", err)
	}
	out.Reset()
	c.Format = telemetry.LogText
	c.Logger(&out).Error("text")
	if !slices.Contains(strings.Fields(out.String()), "msg=text") {
		t.Errorf("text: %q", out.String())
	}
}
