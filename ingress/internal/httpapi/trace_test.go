package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/tracing"
)

const (
	someTraceID = "0af7651916cd43dd8448eb211c80319c"
	someTrace   = "00-" + someTraceID + "-b7ad6b7169203331-01"
)

// TestTraceIsCarried: from the header into every record of the request, and into the answer. What is malformed is no trace, and no reason to refuse.
func TestTraceIsCarried(t *testing.T) {
	batch := `[{"user_id":"alice","module_id":null},{"user_id":"bob","module_id":null}]`
	for _, call := range []struct{ method, path, media, body string }{
		{http.MethodPost, triggerPath, "application/json", `{"user_id":"alice","module_id":null}`},
		{http.MethodPost, batchPath, "application/json", batch},
		{http.MethodPut, "/v1/users/alice", "application/json", `{"bot_id":"shop"}`},
		{http.MethodDelete, "/v1/users/alice", "", ""},
		{http.MethodPost, "/v1/users", "application/x-ndjson", `{"user_id":"alice","bot_id":"shop"}`},
	} {
		for header, want := range map[string]string{
			someTrace:                    someTrace,
			"cc" + someTrace[2:] + "-9":  someTrace,
			"":                           "",
			strings.ToUpper(someTrace):   "",
			"ff" + someTrace[2:]:         "",
			someTrace + "0":              "",
			someTrace[:53] + "ff":        someTrace[:53] + "03",
			someTrace + ", " + someTrace: "",
		} {
			w := newWorld(t, nil)
			a := w.do(call.method, call.path, call.body, "Traceparent", header, "Content-Type", call.media)
			if a.status >= 300 || a.header.Get("Traceresponse") != want {
				t.Errorf("%s %s, %q: %d, traceresponse %q, want %q", call.method, call.path, header, a.status, a.header.Get("Traceresponse"), want)
			}
			lines := w.appender.all()
			if len(lines) == 0 {
				t.Errorf("%s %s: nothing was appended", call.method, call.path)
			}
			for _, l := range lines {
				if strings.Contains(l.line, `"trace":"`) != (want != "") || !strings.Contains(l.line, want) {
					t.Errorf("%s %s, %q: %s", call.method, call.path, header, l.line)
				}
			}
		}
	}
}

// Two headers are none: nobody knows which one is meant.
func TestTwoTracesAreNone(t *testing.T) {
	w := newWorld(t, nil)
	r := httpRequest(http.MethodPost, triggerPath, goodTrigger)
	r.Header["Traceparent"] = []string{someTrace, someTrace}
	if a := w.send(r, goodTrigger); a.status != 200 || len(a.header["Traceresponse"]) != 0 {
		t.Errorf("%d, %q", a.status, a.header["Traceresponse"])
	}
}

// TestTraceOfFailures: whoever is refused learns the trace as well, and what is our fault stands in the log with it.
func TestTraceOfFailures(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, nil)
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	w.api.deps.Logger, w.api.log = logger, newFailureLog(logger)
	for path, status := range map[string]int{triggerPath: 400, "/nowhere": 404, "/openapi.json": 405} {
		a := answerOf(w, httpRequest(http.MethodPost, path, `{`, "Traceparent", someTrace))
		if a.status != status || a.header.Get("Traceresponse") != someTrace {
			t.Errorf("%s: %d, traceresponse %q", path, a.status, a.header.Get("Traceresponse"))
		}
	}
	if log.Len() > 0 {
		t.Errorf("the caller's faults are logged: %s", log.String())
	}
	expect := func(msg string) {
		t.Helper()
		if !strings.Contains(log.String(), `"msg":"`+msg+`"`) || strings.Count(log.String(), `"trace_id":"`+someTraceID+`"`) != 1 {
			t.Errorf("log:\n%s", log.String())
		}
		log.Reset()
	}
	w.appender.err = appender.ErrUnavailable
	w.do(http.MethodPost, triggerPath, goodTrigger, "Traceparent", someTrace)
	expect("request failed")
	w.appender.err = &appender.UnknownError{Receipt: someReceipt}
	w.do(http.MethodPost, batchPath, "["+goodTrigger+"]", "Traceparent", someTrace)
	expect("request failed")
	w.api.deps.Users = nil
	w.do(http.MethodPost, triggerPath, goodTrigger, "Traceparent", someTrace)
	w.do(http.MethodPost, batchPath, "["+goodTrigger+"]")
	if !strings.Contains(log.String(), "request panicked") || strings.Count(log.String(), someTraceID) != 2 { // the panic, and the failure that it became
		t.Errorf("log:\n%s", log.String())
	}
}

// withTracer gives w a tracer that keeps what it gets and exports nothing.
func withTracer(t testing.TB, w *world, share float64) {
	t.Helper()
	cfg := tracing.Config{Endpoint: "http://127.0.0.1:1", Queue: 100}
	var err error
	if w.api.deps.Tracer, err = cfg.Tracer("test", prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	w.api.cfg.TraceSample = share
}

// TestTracesAreBegun for a share of the requests that bring none, and only where spans are exported. What the caller decided about a trace of theirs stays.
func TestTracesAreBegun(t *testing.T) {
	unsampled := someTrace[:53] + "00"
	for _, c := range []struct {
		header string
		share  float64
		begun  bool
		same   bool // the answer has the caller's own span
	}{
		{"", 0, false, false}, {"", 1, true, false}, {"broken", 1, true, false}, {unsampled, 1, false, true}, {someTrace, 0, false, false},
	} {
		w := newWorld(t, nil)
		withTracer(t, w, c.share)
		a := w.do(http.MethodPost, triggerPath, goodTrigger, "Traceparent", c.header)
		told, line := a.header.Get("Traceresponse"), w.appender.all()[0].line
		switch {
		case c.begun && (len(told) != len(someTrace) || strings.Contains(told, someTraceID) || told[53:] != "03" || !strings.Contains(line, `"trace":"`+told[:35])):
			t.Errorf("%q, %v: answer %q, record %s", c.header, c.share, told, line)
		case c.same && (told != c.header || !strings.Contains(line, c.header)):
			t.Errorf("%q, %v: answer %q, record %s", c.header, c.share, told, line)
		case c.header == someTrace && (told[:35] != someTrace[:35] || told == someTrace || !strings.Contains(line, someTrace[:35]) || strings.Contains(line, told)):
			t.Errorf("%q, %v: answer %q, record %s", c.header, c.share, told, line)
		case c.header == "" && !c.begun && (told != "" || strings.Contains(line, "trace")):
			t.Errorf("%q, %v: answer %q, record %s", c.header, c.share, told, line)
		}
	}
	w := newWorld(t, nil)
	w.api.cfg.TraceSample = 1
	if a := w.do(http.MethodPost, triggerPath, goodTrigger); a.header.Get("Traceresponse") != "" {
		t.Error("a trace is begun that nobody exports")
	}
}
