package partition

import (
	"time"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/tracing"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Spans are of what this process does, and so are nothing that the state or an event depends on. Only whoever leads has them, and only for
// events that are not in EVENTS-p yet: what is derived once more after a restart was told before. An event that was derived and not
// emitted when its process ended may have a span of either one; that of the later has triggerd.replayed.

// tracedEvent is an event on its way whose spans are kept.
type tracedEvent struct {
	number uint64
	tracing.Context
}

// beginSpans is when the message that is applied next began to be; zero where there are no spans.
func (a *actor) beginSpans() (begun time.Time) {
	if a.deps.Tracer == nil {
		return begun
	}
	a.traced = a.traced[:0]
	return time.Now()
}

// beginSpan makes a span of the judgement that led to e, and lets e's parcel know of it.
func (a *actor) beginSpan(e *machine.Event) {
	if a.deps.Tracer == nil || len(e.Trace) == 0 || e.Number <= a.outbox.emitted || !a.emits() {
		return
	}
	parent, _ := tracing.Parse(e.Trace)
	if !a.deps.Tracer.Keeps(parent) {
		return
	}
	id := record.ID{Partition: a.cfg.Partition, Position: e.Position}
	span := tracing.Span{Context: parent.Child(), Parent: parent, Name: "apply triggers.{partition}", Kind: tracing.Consumer,
		Attrs: append(tracing.Messaging("triggers", a.label(), "apply", "process"),
			tracing.Text("triggerd.record.id", id.String()), tracing.Text("triggerd.event.type", e.Kind.String()))}
	if e.Reason != "" {
		span.Attrs = append(span.Attrs, tracing.Text("triggerd.rejected", e.Reason))
	}
	if e.Second {
		span.Attrs = append(span.Attrs, tracing.Yes("triggerd.delayed"))
	}
	if a.State() == Replaying {
		span.Attrs = append(span.Attrs, tracing.Yes("triggerd.replayed"))
	}
	a.traced = append(a.traced, span)
	parcel := a.outbox.queue[len(a.outbox.queue)-1]
	parcel.traces = append(parcel.traces, tracedEvent{e.Number, span.Context})
}

// endSpans exports the spans of a message that was applied.
func (a *actor) endSpans(begun time.Time) {
	if len(a.traced) == 0 {
		return
	}
	ended := time.Now()
	for _, span := range a.traced {
		span.Begun, span.Ended = begun, ended
		a.deps.Tracer.Add(span)
	}
	clear(a.traced)
}

// exportParcel exports the span of a parcel that was acknowledged here. It stands in the trace of its first event that has one, and is linked to all.
func (p *Partition) exportParcel(parcel *parcel, seq uint64, begun time.Time) {
	if len(parcel.traces) == 0 {
		return
	}
	links := make([]tracing.Context, len(parcel.traces))
	for i, e := range parcel.traces {
		links[i] = e.Context
	}
	p.deps.Tracer.Add(tracing.Span{Context: links[0].Child(), Parent: links[0], Links: links, Name: "emit events.{partition}", Kind: tracing.Producer,
		Begun: begun, Ended: time.Now(), Attrs: append(tracing.Messaging("events", p.label(), "emit", "send"),
			tracing.Int("messaging.batch.message_count", int(parcel.last-parcel.first+1)), tracing.Int("triggerd.stream.sequence", seq))})
}
