package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
	"github.com/triggerd/triggerd/shared/tracing"
)

// TestMetrics holds the names: dashboards and alerts are written against them.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg, newWorld(t, nil).api.gauges()...)
	if err != nil {
		t.Fatal(err)
	}
	m.route(triggerPath).observe(http.StatusOK, time.Millisecond)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := "triggerd_ingress_accepted_total triggerd_ingress_body_bytes triggerd_ingress_connections triggerd_ingress_idempotency_keys_total triggerd_ingress_request_seconds triggerd_ingress_requests_in_hand triggerd_ingress_requests_total triggerd_ingress_requests_waiting triggerd_ingress_triggers_total triggerd_ingress_turns triggerd_ingress_unverified_accepts_total"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("metrics %s, want %s", got, want)
	}
	if _, err := newMetrics(reg); err == nil {
		t.Error("registered twice without an error")
	}
}

// TestRequestsAreCounted shows the labels: routes as they are registered, never what a caller made up.
func TestRequestsAreCounted(t *testing.T) {
	w := newWorld(t, nil)
	w.do(http.MethodPost, triggerPath, goodTrigger)
	w.do(http.MethodPost, triggerPath, `{`)
	w.do(http.MethodGet, "/v1/users/alice", "")
	w.do(http.MethodGet, "/invented/by/a/caller", "")
	w.do("BREW", triggerPath, "")
	err := testutil.CollectAndCompare(w.api.metrics.requests, strings.NewReader(`
# HELP triggerd_ingress_requests_total Requests answered, by route and status code. Bad for 5xx: request failed in the log says why.
# TYPE triggerd_ingress_requests_total counter
triggerd_ingress_requests_total{code="200",route="/actionsvc/trigger-response"} 0
triggerd_ingress_requests_total{code="200",route="/actionsvc/trigger-response/"} 1
triggerd_ingress_requests_total{code="200",route="/actionsvc/trigger-response/batch"} 0
triggerd_ingress_requests_total{code="200",route="/actionsvc/trigger-response/batch/"} 0
triggerd_ingress_requests_total{code="400",route="/actionsvc/trigger-response/"} 1
triggerd_ingress_requests_total{code="200",route="/healthz"} 0
triggerd_ingress_requests_total{code="200",route="/openapi.json"} 0
triggerd_ingress_requests_total{code="200",route="/v1/bots/:bot_id/modules"} 0
triggerd_ingress_requests_total{code="200",route="/v1/deadletters"} 0
triggerd_ingress_requests_total{code="200",route="/v1/triggers/:trigger_id"} 0
triggerd_ingress_requests_total{code="200",route="/v1/users"} 0
triggerd_ingress_requests_total{code="200",route="/v1/users/:user_id"} 0
triggerd_ingress_requests_total{code="503",route="/v1/users/:user_id"} 1
triggerd_ingress_requests_total{code="404",route="none"} 1
triggerd_ingress_requests_total{code="405",route="none"} 1
`))
	if err != nil {
		t.Error(err)
	}
}

// Triggers are counted by the class of their account: whatever is refused, wherever, and items of batches. What has a bad token is nobody's.
func TestTriggersAreCountedByClass(t *testing.T) {
	w := newWorld(t, nil)
	w.do(http.MethodPost, triggerPath, goodTrigger)
	w.limitTo(ratelimit.Limit{Rate: 0.2, Burst: 7})
	w.do(http.MethodPost, triggerPath, goodTrigger)
	w.do(http.MethodPost, triggerPath, `{`)
	w.do(http.MethodPost, triggerPath, "x", "Content-Type", "text/plain")
	w.do(http.MethodPost, triggerPath, goodTrigger, "Authorization", "JWT nonsense")
	w.batch(goodTrigger, "7", goodTrigger, goodTrigger, goodTrigger, goodTrigger)
	w.do(http.MethodPost, triggerPath, goodTrigger)
	err := testutil.CollectAndCompare(w.api.metrics.triggers, strings.NewReader(`
# HELP triggerd_ingress_triggers_total `+triggersHelp+`
# TYPE triggerd_ingress_triggers_total counter
triggerd_ingress_triggers_total{answer="accepted",class="own"} 0
triggerd_ingress_triggers_total{answer="accepted",class="unlimited"} 1
triggerd_ingress_triggers_total{answer="accepted",class="usual"} 4
triggerd_ingress_triggers_total{answer="internal",class="own"} 0
triggerd_ingress_triggers_total{answer="internal",class="unlimited"} 0
triggerd_ingress_triggers_total{answer="internal",class="usual"} 0
triggerd_ingress_triggers_total{answer="invalid_json",class="usual"} 2
triggerd_ingress_triggers_total{answer="rate_limited",class="own"} 0
triggerd_ingress_triggers_total{answer="rate_limited",class="unlimited"} 0
triggerd_ingress_triggers_total{answer="rate_limited",class="usual"} 3
triggerd_ingress_triggers_total{answer="repeated",class="own"} 0
triggerd_ingress_triggers_total{answer="repeated",class="unlimited"} 0
triggerd_ingress_triggers_total{answer="repeated",class="usual"} 0
triggerd_ingress_triggers_total{answer="unavailable",class="own"} 0
triggerd_ingress_triggers_total{answer="unavailable",class="unlimited"} 0
triggerd_ingress_triggers_total{answer="unavailable",class="usual"} 0
triggerd_ingress_triggers_total{answer="unknown_outcome",class="own"} 0
triggerd_ingress_triggers_total{answer="unknown_outcome",class="unlimited"} 0
triggerd_ingress_triggers_total{answer="unknown_outcome",class="usual"} 0
triggerd_ingress_triggers_total{answer="unsupported_media_type",class="usual"} 1
`))
	if err != nil {
		t.Error(err)
	}
}

// TestLogHoldsNoSecrets plants a word where secrets are and looks for it in all that is logged.
func TestLogHoldsNoSecrets(t *testing.T) {
	const canary = "canary-4711"
	var log bytes.Buffer
	w := newWorld(t, nil)
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.api.deps.Logger, w.api.log = logger, newFailureLog(logger)
	body := fmt.Sprintf(`{"user_id":%q,"module_id":1068935,"custom_vars":{"a":%q}}`, canary, canary)
	for _, err := range []error{appender.ErrUnavailable, &appender.UnknownError{Receipt: someReceipt}, errors.New("other")} {
		w.appender.err = err
		w.do(http.MethodPost, triggerPath, body)
		w.do(http.MethodPut, "/v1/users/"+canary, `{"custom_vars":{"a":"`+canary+`"}}`)
	}
	w.do(http.MethodPost, triggerPath, body, "Authorization", "JWT "+canary)
	w.api.deps.Users = nil
	w.do(http.MethodPost, triggerPath, body)
	if !strings.Contains(log.String(), "code=unavailable") || !strings.Contains(log.String(), "request panicked") {
		t.Errorf("log:\n%s", log.String())
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("the log holds a secret:\n%s", log.String())
	}
}

// Each kind of failure is a trouble of its own: a thousand of one do not hide another.
func TestFailureLogIsBoundedByKind(t *testing.T) {
	var out bytes.Buffer
	l := newFailureLog(slog.New(slog.NewTextHandler(&out, nil)))
	for range 1000 {
		l.report(fail(unavailable), "/a", tracing.Context{})
	}
	l.report(fail(internal), "/b", tracing.Context{})
	if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "code=internal") {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Partitions: -1}, {Partitions: 1, DefaultWait: -1}, {Partitions: 1, DefaultWait: 721 * time.Hour}, {Partitions: 1, TraceSample: 1.1}, {Partitions: 1, TraceSample: math.NaN()}} {
		if _, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%+v: taken", cfg)
		}
	}
}
