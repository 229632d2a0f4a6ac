package appender

import (
	"strconv"
	"time"

	"github.com/triggerd/triggerd/shared/tracing"
)

// exportFlight exports the span of a batch whose fate is known, if it carried a record whose spans are kept. It stands in the trace of the first
// of them, and is linked to all: one batch carries records of many traces.
func (p *partition) exportFlight(seq uint64, failed string) {
	f := p.flight
	if len(f.traces) == 0 {
		return
	}
	attrs := append(tracing.Messaging("triggers", strconv.Itoa(p.id), "publish", "send"),
		tracing.Int("messaging.batch.message_count", len(f.calls)), tracing.Int("triggerd.batch.number", f.number), tracing.Int("triggerd.batch.attempts", f.attempts))
	if failed == "" {
		attrs = append(attrs, tracing.Int("triggerd.stream.sequence", seq))
	} else {
		attrs = append(attrs, tracing.Text("error.type", failed))
	}
	p.a.tracer.Add(tracing.Span{Context: f.traces[0].Child(), Parent: f.traces[0], Links: f.traces, Name: "publish triggers.{partition}", Kind: tracing.Producer,
		Begun: f.since, Ended: time.Now(), Failed: failed, Attrs: attrs})
}
