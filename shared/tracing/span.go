package tracing

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Kind is a span's part in an exchange.
type Kind = tracepb.Span_SpanKind

const (
	Server   = tracepb.Span_SPAN_KIND_SERVER
	Producer = tracepb.Span_SPAN_KIND_PRODUCER
	Consumer = tracepb.Span_SPAN_KIND_CONSUMER
)

// Attr is a name and a value of a span. Values are routes, numbers, subjects and words of ours: nothing that a customer has sent.
type Attr = *commonpb.KeyValue

// Text is an attribute.
func Text(name, value string) Attr {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// Int is an attribute.
func Int[T int | uint64](name string, value T) Attr {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(value)}}}
}

// Yes is an attribute that is true.
func Yes(name string) Attr {
	return &commonpb.KeyValue{Key: name, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}}
}

// Messaging are the attributes of what happens to messages in NATS, by OpenTelemetry's conventions: of the subject prefix.partition, where
// operation is what triggerd calls it, and kind create, send or process.
func Messaging(prefix, partition, operation, kind string) []Attr {
	return []Attr{Text("messaging.system", "nats"), Text("messaging.operation.name", operation), Text("messaging.operation.type", kind),
		Text("messaging.destination.name", prefix+"."+partition), Text("messaging.destination.template", prefix+".{partition}"),
		Text("messaging.destination.partition.id", partition)}
}

// maxLinks of a span; more are counted.
const maxLinks = 128

// Span is something that took its time. Its Context is new; Parent is that of what it is a part of, zero for the first of a trace.
type Span struct {
	Context
	Parent Context
	Links  []Context // what else led to it
	Name   string
	Kind   Kind
	Begun  time.Time
	Ended  time.Time
	Failed string // why it is an error; empty = it is none
	Attrs  []Attr
}

// New begins a trace of which spans are kept.
func New() (c Context) {
	for !c.Valid() {
		binary.NativeEndian.PutUint64(c.Trace[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(c.Trace[8:], rand.Uint64())
		c = c.Child()
	}
	c.Flags = Sampled | Random
	return c
}

// Child is another span of the same trace.
func (c Context) Child() Context {
	c.Span = [8]byte{}
	for c.Span == [8]byte{} {
		binary.NativeEndian.PutUint64(c.Span[:], rand.Uint64())
	}
	return c
}

// message is the span as OTLP has it.
func (s *Span) message() *tracepb.Span {
	m := &tracepb.Span{
		TraceId: s.Trace[:], SpanId: s.Context.Span[:], Flags: uint32(s.Flags), Name: s.Name, Kind: s.Kind,
		StartTimeUnixNano: uint64(s.Begun.UnixNano()), EndTimeUnixNano: uint64(s.Ended.UnixNano()), Attributes: s.Attrs,
	}
	if s.Parent.Valid() {
		m.ParentSpanId = s.Parent.Span[:]
	}
	if s.Failed != "" {
		m.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: s.Failed}
	}
	links := s.Links[:min(len(s.Links), maxLinks)]
	m.DroppedLinksCount = uint32(len(s.Links) - len(links))
	for i := range links {
		m.Links = append(m.Links, &tracepb.Span_Link{TraceId: links[i].Trace[:], SpanId: links[i].Span[:], Flags: uint32(links[i].Flags)})
	}
	return m
}
