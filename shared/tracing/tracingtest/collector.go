// Package tracingtest has a collector of spans for tests: an HTTP server on loopback that reads OTLP and remembers.
package tracingtest

import (
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one that was exported, with its ids in hexadecimal.
type Span struct {
	Service, Trace, ID, Parent, Name, Kind string
	Links                                  []string // trace-span
	Attrs                                  map[string]string
	Failed                                 string
	Begun, Ended                           uint64 // Unix nanoseconds
}

// Collector is safe for concurrent use.
type Collector struct {
	URL    string
	server *http.Server

	mu    sync.Mutex
	spans []Span
	raw   strings.Builder
	fault string
}

// Start listens on a free port of loopback. The caller closes it.
func Start() (*Collector, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Collector{URL: "http://" + ln.Addr().String()}
	c.server = &http.Server{Handler: c}
	go c.server.Serve(ln)
	return c, nil
}

// Close cuts all connections.
func (c *Collector) Close() error { return c.server.Close() }

// Spans are those that came, in their order.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Of are those of a trace.
func (c *Collector) Of(trace string) (found []Span) {
	for _, s := range c.Spans() {
		if s.Trace == trace {
			found = append(found, s)
		}
	}
	return found
}

// Raw is all that came, to look for what must not be in it.
func (c *Collector) Raw() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

// Fault is what was wrong with a request, empty if nothing was.
func (c *Collector) Fault() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// ServeHTTP takes an export request.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data tracepb.TracesData
	if err == nil {
		err = proto.Unmarshal(body, &data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.fault = r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.raw.Write(body)
	for _, resource := range data.GetResourceSpans() {
		service := attributes(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, read(service, s))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(service string, m *tracepb.Span) Span {
	s := Span{Service: service, Trace: hex.EncodeToString(m.GetTraceId()), ID: hex.EncodeToString(m.GetSpanId()), Parent: hex.EncodeToString(m.GetParentSpanId()),
		Name: m.GetName(), Kind: m.GetKind().String(), Attrs: attributes(m.GetAttributes()), Failed: m.GetStatus().GetMessage(),
		Begun: m.GetStartTimeUnixNano(), Ended: m.GetEndTimeUnixNano()}
	for _, l := range m.GetLinks() {
		s.Links = append(s.Links, hex.EncodeToString(l.GetTraceId())+"-"+hex.EncodeToString(l.GetSpanId()))
	}
	return s
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		text := kv.GetValue().GetStringValue()
		if text == "" {
			text = strings.TrimSpace(kv.GetValue().String()[strings.LastIndexByte(kv.GetValue().String(), ':')+1:]) // a number, or true
		}
		m[kv.GetKey()] = text
	}
	return m
}
