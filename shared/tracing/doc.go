// Package tracing carries the trace that a caller's request belongs to (W3C Trace Context): from the header into the record, from there into the
// event, and into the lines of the log. And it exports spans to an OpenTelemetry collector (OTLP over HTTP), if it is told to.
//
// # Usage
//
//	trace, ok := tracing.Parse(header)   // from outside: malformed is none
//	rec.Trace = trace.AppendTo(nil)      // into the log
//	log.Error("request failed", trace.Attrs("route", route)...)
//	if tracer.Keeps(trace) {             // tracer may be nil
//		tracer.Add(tracing.Span{Context: trace.Child(), Parent: trace, …})
//	}
//
// # What is carried
//
// The traceparent, in version 00 and with the flags that are known. Not tracestate: that is the vendors' among each other, has up to 512 bytes, and
// would be in every record.
//
// # What is exported
//
// Spans of sampled traces, with routes, numbers, subjects and words of ours; nothing that a customer has sent. The messages are OpenTelemetry's own. Its
// SDK with exporter is not used: it brings gRPC along, and 11 MB more in each binary for what is a queue and a POST here.
//
// # Failure
//
// Nothing ever waits for a collector. What does not fit into the queue is dropped and counted; what the collector does not take is sent again, until
// it refuses.
//
// # Concurrency
//
// A Context is a value. A Tracer is safe for concurrent use.
package tracing
