package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/tracing/tracingtest"
)

const (
	sampledTrace   = "0af7651916cd43dd8448eb211c80319c"
	unsampledTrace = "1af7651916cd43dd8448eb211c80319c"
	callersSpan    = "b7ad6b7169203331"
	canary         = "canary-4711"
)

// traced sends a trigger with a traceparent, none if that is empty.
func (f *fleet) traced(to *member, traceparent, body string) reply {
	f.t.Helper()
	ctx, cancel := f.patient()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.addr+triggers, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", jsonMedia)
	req.Header.Set("Idempotency-Key", canary+strconv.Itoa(len(body)))
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
	}
	r := reply{answer: f.do(req)}
	r.into(&r)
	r.must(http.StatusOK)
	return r
}

// One trace leads from the caller through the ingress, the log and the worker to the event, and is the same in the answer. The standby, which applies
// the same, has no spans. Nothing of what was sent is in any span.
func TestTraceLeadsFromTheCallerToTheEvent(t *testing.T) {
	collector, err := tracingtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { collector.Close() })
	f := newFleet(t, "-otlp-endpoint", collector.URL)
	first, second := f.worker("-data-dir", t.TempDir()), f.worker("-data-dir", t.TempDir())
	in := f.ingress("-trace-sample", "0")
	f.setUp(in)
	user := "user-" + canary
	f.register(in, user)

	r := f.traced(in, "00-"+sampledTrace+"-"+callersSpan+"-01", `{"user_id":"`+user+`","module_id":8,"is_async":true,"wait_time":0.2,"custom_vars":{"v":"`+canary+`"}}`)
	f.traced(in, "00-"+unsampledTrace+"-"+callersSpan+"-00", `{"user_id":"`+user+`","module_id":null}`)
	if none := f.traced(in, "", `{"user_id":"`+user+`","module_id":null,"custom_vars":{"w":1}}`); none.header.Get("Traceresponse") != "" {
		t.Errorf("a request without a trace is answered with %q", none.header.Get("Traceresponse"))
	}
	events := f.about(user, 4)
	for _, w := range []*member{first, second} { // whoever stands by has applied all as well
		natstest.Eventually(t, func() bool {
			return !slices.ContainsFunc(f.partitions(w.admin, ""), func(p partitionPage) bool { return p.Applied < p.Last })
		}, "a worker to apply all")
	}
	in.stop()
	first.stop()
	second.stop()

	spans := collector.Of(sampledTrace)
	only := func(name string, n int) tracingtest.Span {
		t.Helper()
		var found []tracingtest.Span
		for _, s := range spans {
			if s.Name == name {
				found = append(found, s)
			}
		}
		if len(found) != n {
			t.Fatalf("%d spans %s, want %d: %+v", len(found), name, n, spans)
		}
		return found[0]
	}
	request, record := only("POST "+triggers, 1), only("append triggers.{partition}", 1)
	batch, apply, emit := only("publish triggers.{partition}", 1), only("apply triggers.{partition}", 2), only("emit events.{partition}", 2)
	for child, parent := range map[string]string{request.Parent: callersSpan, record.Parent: request.ID, batch.Parent: record.ID, apply.Parent: record.ID, emit.Parent: apply.ID} {
		if child != parent {
			t.Errorf("a span is a child of %s, want %s: %+v", child, parent, spans)
		}
	}
	if got, want := r.header.Get("Traceresponse"), "00-"+sampledTrace+"-"+request.ID+"-01"; got != want {
		t.Errorf("traceresponse %q, want %q", got, want)
	}
	if batch.Attrs["messaging.destination.name"] != "triggers."+batch.Attrs["messaging.destination.partition.id"] || apply.Attrs["triggerd.record.id"] != r.ID ||
		record.Attrs["triggerd.record.id"] != r.ID || request.Attrs["http.response.status_code"] != "200" || request.Service != "triggerd-ingress" || apply.Service != "triggerd-worker" ||
		!slices.Equal(batch.Links, []string{sampledTrace + "-" + record.ID}) {
		t.Errorf("spans are %+v", spans)
	}
	traces := map[string]int{}
	for _, e := range events {
		traces[e.Traceparent]++
	}
	if traces["00-"+sampledTrace+"-"+record.ID+"-01"] != 2 || traces["00-"+unsampledTrace+"-"+callersSpan+"-00"] != 1 || traces[""] != 1 {
		t.Errorf("traceparents of the events are %v", traces)
	}
	if unwanted := len(collector.Spans()) - len(spans); unwanted != 0 || collector.Fault() != "" {
		t.Errorf("%d spans of other traces, fault %q", unwanted, collector.Fault())
	}
	for _, secret := range []string{canary, f.token} {
		if strings.Contains(collector.Raw(), secret) {
			t.Error("what was sent is in a span")
		}
	}
}
