package tracing

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector answers without a network, so that a bubble's clock can go on.
type collector struct {
	answer func(n int) int // status of request n, counted from 1; 0: it is away
	took   []*tracepb.Span
	times  []time.Time
	header http.Header
}

func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	c.times, c.header = append(c.times, time.Now()), r.Header
	status := c.answer(len(c.times))
	switch status {
	case 0:
		return nil, errors.New("nobody listens")
	case -1:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case http.StatusOK:
		var data tracepb.TracesData
		body, _ := io.ReadAll(r.Body)
		if err := proto.Unmarshal(body, &data); err != nil {
			return nil, err
		}
		c.took = append(c.took, data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()...)
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Header: http.Header{"Location": {"https://elsewhere/"}}}, nil
}

// exporting runs a tracer in a bubble against a collector that answers so. stop ends it.
func exporting(t *testing.T, queue int, answer func(n int) int, do func(tr *Tracer, c *collector, log *strings.Builder, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		c, log := &collector{answer: answer}, &strings.Builder{}
		cfg := Config{Endpoint: "http://collector:4318/", Queue: queue}
		tr, err := cfg.Tracer("test", prometheus.NewPedanticRegistry(), slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		tr.client.Transport = c
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tr.Run(ctx, func() {}) }()
		stopped := false
		stop := func() {
			if stopped {
				return
			}
			stopped = true
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		do(tr, c, log, stop)
		stop()
	})
}

func (t *Tracer) addSome(n int) {
	for range n {
		own := New()
		t.Add(Span{Context: own.Child(), Parent: own, Name: "some", Kind: Server, Begun: time.Now(), Ended: time.Now()})
	}
}

func (t *Tracer) lost(reason string) float64 {
	return testutil.ToFloat64(t.dropped.WithLabelValues(reason))
}

// pass lets the bubble's clock go on, and everybody do what they have to do then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func always(status int) func(int) int { return func(int) int { return status } }

func TestSpansLeaveTogether(t *testing.T) {
	exporting(t, 100, always(200), func(tr *Tracer, c *collector, _ *strings.Builder, stop func()) {
		parent := New()
		begun := time.Now()
		tr.Add(Span{Context: parent.Child(), Parent: parent, Links: []Context{parent}, Name: "a", Kind: Consumer, Begun: begun, Ended: begun.Add(time.Second),
			Failed: "why", Attrs: []Attr{Text("k", "v"), Int("n", 7)}})
		tr.addSome(9)
		pass(2 * collectEvery)
		if len(c.times) != 1 || len(c.took) != 10 || testutil.ToFloat64(tr.exported) != 10 {
			t.Fatalf("%d requests with %d spans", len(c.times), len(c.took))
		}
		s := c.took[0]
		if string(s.TraceId) != string(parent.Trace[:]) || string(s.ParentSpanId) != string(parent.Span[:]) || len(s.SpanId) != 8 || s.GetName() != "a" ||
			s.GetKind() != Consumer || s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano() != 1e9 || s.GetStatus().GetMessage() != "why" ||
			len(s.GetAttributes()) != 2 || len(s.GetLinks()) != 1 || string(s.GetLinks()[0].SpanId) != string(parent.Span[:]) {
			t.Errorf("span is %v", s)
		}
		if c.header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("header %v", c.header)
		}
	})
}

// A caller who has everything traced must not flood the collector.
func TestRequestsAreSpacedAndBounded(t *testing.T) {
	exporting(t, 10*maxSpans, always(200), func(tr *Tracer, c *collector, _ *strings.Builder, stop func()) {
		tr.addSome(10 * maxSpans)
		stop()
		if len(c.took) != 10*maxSpans {
			t.Errorf("%d spans", len(c.took))
		}
	})
	exporting(t, 10*maxSpans, always(200), func(tr *Tracer, c *collector, _ *strings.Builder, stop func()) {
		tr.addSome(3 * maxSpans)
		pass(time.Second)
		if len(c.times) != 3 || c.times[1].Sub(c.times[0]) < collectEvery || c.times[2].Sub(c.times[1]) < collectEvery {
			t.Errorf("requests at %v", c.times)
		}
	})
}

// A collector that is away costs memory that is bounded, and two lines of the log.
func TestCollectorIsAway(t *testing.T) {
	away := func(n int) int {
		switch {
		case n <= 3:
			return 0
		case n <= 6:
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	exporting(t, 10, away, func(tr *Tracer, c *collector, log *strings.Builder, stop func()) {
		tr.addSome(1)
		pass(collectEvery / 2)
		tr.addSome(100) // one is on its way or not, ten wait
		if lost := tr.lost(droppedQueue); lost != 90 {
			t.Errorf("%v spans are dropped", lost)
		}
		pass(2 * time.Minute)
		if len(c.took) != 11 || tr.lost(droppedRefused) != 0 || testutil.ToFloat64(tr.exported) != 11 {
			t.Errorf("the collector took %d spans", len(c.took))
		}
		if n := strings.Count(log.String(), "\n"); n > 4 || !strings.Contains(log.String(), "does not take spans") || !strings.Contains(log.String(), "takes spans again") {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}

// What is refused is not repeated for ever.
func TestSpansAreRefused(t *testing.T) {
	for _, status := range []int{400, 401, 404, 302, 500} {
		exporting(t, 10, always(status), func(tr *Tracer, c *collector, log *strings.Builder, stop func()) {
			tr.addSome(2)
			pass(time.Minute)
			if len(c.times) != 1 || tr.lost(droppedRefused) != 2 || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("%d: %d requests, %v dropped, log:\n%s", status, len(c.times), tr.lost(droppedRefused), log.String())
			}
		})
	}
}

// Stopping takes 3 s at most, even with a collector that does not answer.
func TestStoppingIsBounded(t *testing.T) {
	exporting(t, 4*maxSpans, always(-1), func(tr *Tracer, c *collector, _ *strings.Builder, stop func()) {
		tr.addSome(3 * maxSpans)
		pass(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > flushTimeout || tr.lost(droppedStopped) != 3*maxSpans {
			t.Errorf("stopped after %v, %v spans dropped", took, tr.lost(droppedStopped))
		}
	})
}

func TestNoTracerKeepsNothing(t *testing.T) {
	tr, err := (&Config{}).Tracer("test", nil, nil)
	if tr != nil || err != nil || tr.Keeps(New()) {
		t.Errorf("%v, %v", tr, err)
	}
	if off := (&Config{HeadersFile: "nowhere"}); off.Check() != nil {
		t.Error("reads files of an export that is off")
	}
	on := &Tracer{}
	if unsampled := (Context{Trace: [16]byte{1}, Span: [8]byte{1}}); !on.Keeps(New()) || on.Keeps(unsampled) || on.Keeps(Context{Flags: Sampled}) {
		t.Error("keeps other traces than those that are sampled")
	}
}

func TestLinksAreBounded(t *testing.T) {
	m := (&Span{Links: make([]Context, maxLinks+5)}).message()
	if len(m.GetLinks()) != maxLinks || m.GetDroppedLinksCount() != 5 {
		t.Errorf("%d links, %d dropped", len(m.GetLinks()), m.GetDroppedLinksCount())
	}
}

func TestConfig(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "headers")
	for args, want := range map[string]string{
		"":                                   "",
		"-otlp-endpoint=https://c":           "",
		"-otlp-endpoint=http://c:4318/":      "",
		"-otlp-endpoint=c:4318":              "no http or https url",
		"-otlp-endpoint=grpc://c":            "no http or https url",
		"-otlp-endpoint=https://u:p@c":       "has a user",
		"-otlp-endpoint=https://c?k=v":       "has a user, a query",
		"-otlp-queue=0":                      "not within 1 and",
		"-otlp-ca=x":                         "given without -otlp-endpoint",
		"-otlp-endpoint=http://c -otlp-ca=x": "not https",
		"-otlp-endpoint=http://c -otlp-headers-file=" + secret:           "everybody on the way",
		"-otlp-endpoint=http://127.0.0.1:1 -otlp-headers-file=" + secret: "",
		"-otlp-endpoint=https://c -otlp-headers-file=" + secret:          "",
	} {
		var c Config
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		c.RegisterFlags(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestHeadersFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "headers")
	c := Config{Endpoint: "https://c", HeadersFile: file, Queue: 1}
	if _, err := c.Tracer("test", prometheus.NewRegistry(), nil); err == nil || c.Check() == nil {
		t.Error("a file that is missing is none")
	}
	for text, want := range map[string]string{
		"Authorization: Bearer s3cret\nX-Org: 7\n": "Bearer s3cret", "\n\nauthorization:Bearer s3cret\r\n\r\n": "Bearer s3cret", "s3cret": "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tr, err := c.Tracer("test", prometheus.NewRegistry(), nil)
		if (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "s3cret") || (c.Check() == nil) != (err == nil) || err == nil && tr.header.Get("Authorization") != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
