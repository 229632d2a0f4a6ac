package tracing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// How spans leave: many at once, and not more often than collectEvery, so that a caller who has everything traced floods nobody.
const (
	maxSpans     = 512 // in one request
	collectEvery = 200 * time.Millisecond
	sendTimeout  = 10 * time.Second
	minPause     = time.Second // before a request is repeated, doubling …
	maxPause     = 30 * time.Second
	flushTimeout = 3 * time.Second // for all that waits when the process stops
)

// Why spans are dropped.
const (
	droppedQueue   = "queue_full"
	droppedRefused = "refused"
	droppedStopped = "stopped"
)

// Tracer exports spans. A nil Tracer is none: it keeps nothing. Safe for concurrent use.
type Tracer struct {
	url      string
	client   *http.Client
	header   http.Header
	resource *resourcepb.Resource
	log      *slog.Logger
	queue    chan *tracepb.Span
	exported prometheus.Counter
	dropped  *prometheus.CounterVec
	trouble  telemetry.Trouble
}

// Tracer makes one for a process of that name, nil if spans go nowhere. It exports while it runs (Run).
func (c *Config) Tracer(service string, reg prometheus.Registerer, log *slog.Logger) (*Tracer, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	header, err := c.headers()
	if err != nil {
		return nil, err
	}
	t := &Tracer{
		url: strings.TrimSuffix(c.Endpoint, "/") + "/v1/traces", client: client, header: header, log: log, queue: make(chan *tracepb.Span, c.Queue),
		resource: &resourcepb.Resource{Attributes: whoami(service)},
		exported: prometheus.NewCounter(prometheus.CounterOpts{Name: "triggerd_tracing_exported_spans_total", Help: "Spans that the collector took."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "triggerd_tracing_dropped_spans_total",
			Help: "Spans that are lost, by reason: queue_full, refused by the collector, stopped with the process. Traces have holes then; nothing else is harmed."}, []string{"reason"}),
	}
	for _, reason := range []string{droppedQueue, droppedRefused, droppedStopped} {
		t.dropped.WithLabelValues(reason)
	}
	for _, m := range []prometheus.Collector{t.exported, t.dropped} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of spans: %w", err)
		}
	}
	return t, nil
}

// whoami tells processes of a deployment from each other.
func whoami(service string) []*commonpb.KeyValue {
	version, _ := telemetry.Build()
	host, _ := os.Hostname()
	return []*commonpb.KeyValue{Text("service.namespace", "triggerd"), Text("service.name", "triggerd-"+service), Text("service.version", version),
		Text("host.name", host), Int("process.pid", os.Getpid())}
}

// Keeps reports whether spans of that trace are exported.
func (t *Tracer) Keeps(c Context) bool { return t != nil && c.Sampled() && c.Valid() }

// Add exports a span, some time. It waits for nobody: what does not fit is dropped and counted. The caller must not change what the span refers to.
func (t *Tracer) Add(s Span) {
	select {
	case t.queue <- s.message():
	default:
		t.dropped.WithLabelValues(droppedQueue).Inc()
	}
}

// Run exports until ctx ends, and then what still waits, within 3 s. It is the Run of a lifecycle.Part.
func (t *Tracer) Run(ctx context.Context, ready func()) error {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTimeout, cancel) })()
	defer t.client.CloseIdleConnections()
	ready()
	for {
		spans := t.collect(ctx)
		if len(spans) == 0 {
			return nil
		}
		t.deliver(ctx, sending, spans)
	}
}

// collect takes what has gathered since the last time. It returns nothing when ctx has ended and nothing is left.
func (t *Tracer) collect(ctx context.Context) (spans []*tracepb.Span) {
	select {
	case s := <-t.queue:
		spans = append(spans, s)
	case <-ctx.Done():
	}
	select {
	case <-time.After(collectEvery):
	case <-ctx.Done():
	}
	for len(spans) < maxSpans {
		select {
		case s := <-t.queue:
			spans = append(spans, s)
		default:
			return spans
		}
	}
	return spans
}

// deliver sends spans until they are taken or refused. When ctx has ended there is one more attempt.
func (t *Tracer) deliver(ctx, sending context.Context, spans []*tracepb.Span) {
	// An export request is the same on the wire as this; its own message is in a package with a gRPC server.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: t.resource, ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "triggerd"}, Spans: spans}},
	}}})
	for pause, again := minPause, err == nil; again; pause = min(2*pause, maxPause) {
		last := ctx.Err() != nil
		if again, err = t.post(sending, body); err == nil {
			t.exported.Add(float64(len(spans)))
			t.trouble.Over(t.log, "collector takes spans again")
			return
		}
		if again && last {
			t.dropped.WithLabelValues(droppedStopped).Add(float64(len(spans)))
			return
		}
		if again {
			t.trouble.Again(t.log, slog.LevelWarn, "collector does not take spans, trying again", "url", t.url, "error", err, "waiting", len(t.queue))
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
	t.dropped.WithLabelValues(droppedRefused).Add(float64(len(spans)))
	t.trouble.Again(t.log, slog.LevelWarn, "collector refuses spans, they are dropped", "url", t.url, "error", err)
}

// post makes one attempt. again says whether another one may help, by OTLP's list of statuses.
func (t *Tracer) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header = t.header
	resp, err := t.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, fmt.Errorf("answer %d", resp.StatusCode)
	}
	return false, fmt.Errorf("answer %d", resp.StatusCode)
}

// carried is the key of a Context in a context.Context.
type carried struct{}

// With carries c in ctx, to whoever asks From.
func With(ctx context.Context, c Context) context.Context {
	return context.WithValue(ctx, carried{}, c)
}

// From is what With has put in.
func From(ctx context.Context) Context {
	c, _ := ctx.Value(carried{}).(Context)
	return c
}
