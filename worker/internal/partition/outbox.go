package partition

import (
	"slices"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// parcel is one message of EVENTS-p in the making: consecutive events as a JSON array, still open at its end.
type parcel struct {
	first, last uint64        // numbers
	body        []byte        // "[" and the events, separated by commas; the closing bracket is added by payload
	ends        []int         // length of body after each event
	traces      []tracedEvent // those whose spans are kept
	from        mark          // the message that the last event followed from
}

// payload closes the array for as long as the caller holds it; the parcel can grow or shrink afterwards.
func (p *parcel) payload() []byte { return append(p.body, ']') }

// dropThrough removes the events up to number n, which is within the parcel and not its last.
func (p *parcel) dropThrough(n uint64) {
	k := int(n - p.first + 1)
	cut := p.ends[k-1] // the comma that follows the last removed event stands here
	p.body = append(p.body[:1], p.body[cut+1:]...)
	p.ends = append(p.ends[:0], p.ends[k:]...)
	for i := range p.ends {
		p.ends[i] -= cut
	}
	p.first = n + 1
	p.traces = slices.DeleteFunc(p.traces, func(e tracedEvent) bool { return e.number <= n })
}

// outbox holds the events that are derived and not acknowledged, packed into messages. It belongs to the actor, except for
// the parcel in flight, which belongs to the sender meanwhile.
type outbox struct {
	limit   int    // bytes of a message
	emitted uint64 // the last number that is known to be in EVENTS-p

	queue    []*parcel // in order; the last one is open
	inFlight *parcel
	flying   int // events in flight, as of take
	flyBytes int64
	events   int // waiting, without those in flight
	bytes    int64
	spare    []*parcel
	scratch  []byte
}

// Parcels kept for reuse, and the size over which one is not worth keeping.
const (
	maxSpare      = 4
	maxSpareBytes = 1 << 20
)

// add renders an event that followed from a message into the open parcel. One that EVENTS-p has already is skipped unrendered.
func (o *outbox) add(e *machine.Event, from mark) {
	if e.Number <= o.emitted {
		return
	}
	p := o.open()
	start := len(p.body)
	if start > 1 {
		p.body = append(p.body, ',')
	}
	p.body = e.AppendJSON(p.body)
	if len(p.body) >= o.limit && start > 1 { // one too many: it begins the next one
		o.scratch = append(o.scratch[:0], p.body[start+1:]...)
		p.body = p.body[:start]
		p = o.fresh()
		p.body = append(p.body, o.scratch...)
		start = 1
	}
	if len(p.ends) == 0 {
		p.first = e.Number
	}
	p.last, p.from = e.Number, from
	p.ends = append(p.ends, len(p.body))
	o.events++
	o.bytes += int64(len(p.body) - start)
}

// open is the parcel that collects.
func (o *outbox) open() *parcel {
	if n := len(o.queue); n > 0 && len(o.queue[n-1].body) < o.limit {
		return o.queue[n-1]
	}
	return o.fresh()
}

func (o *outbox) fresh() *parcel {
	p := o.blank()
	p.body, p.ends, p.traces = append(p.body[:0], '['), p.ends[:0], p.traces[:0]
	o.queue = append(o.queue, p)
	return p
}

func (o *outbox) blank() *parcel {
	n := len(o.spare)
	if n == 0 {
		return &parcel{body: make([]byte, 0, 4096)}
	}
	p := o.spare[n-1]
	o.spare = o.spare[:n-1]
	return p
}

// loose says whether the next parcel could leave and has room for more.
func (o *outbox) loose() bool {
	return o.inFlight == nil && len(o.queue) == 1 && len(o.queue[0].body) < o.limit
}

// take hands out the next parcel, of which there is one in flight at most; nil if there is none, or one is.
func (o *outbox) take() *parcel {
	if o.inFlight != nil || len(o.queue) == 0 {
		return nil
	}
	o.inFlight, o.queue = o.queue[0], o.queue[1:]
	o.flying, o.flyBytes = len(o.inFlight.ends), int64(len(o.inFlight.body)-1)
	o.events -= o.flying
	o.bytes -= o.flyBytes
	return o.inFlight
}

// landed ends the flight; skipTo tells what EVENTS-p holds.
func (o *outbox) landed() {
	o.recycle(o.inFlight)
	o.inFlight, o.flying, o.flyBytes = nil, 0, 0
}

// skipTo notes that EVENTS-p holds everything up to number n, whoever put it there.
func (o *outbox) skipTo(n uint64) {
	o.emitted = max(o.emitted, n)
	for len(o.queue) > 0 && o.queue[0].first <= n {
		p := o.queue[0]
		o.events -= len(p.ends)
		o.bytes -= int64(len(p.body) - 1)
		if p.last > n {
			p.dropThrough(n)
			o.events += len(p.ends)
			o.bytes += int64(len(p.body) - 1)
			return
		}
		o.queue = o.queue[1:]
		o.recycle(p)
	}
}

func (o *outbox) recycle(p *parcel) {
	if len(o.spare) < maxSpare && cap(p.body) <= maxSpareBytes {
		o.spare = append(o.spare, p)
	}
}

// unacknowledged is what is derived and not known to be in EVENTS-p.
func (o *outbox) unacknowledged() (events int, bytes int64) {
	return o.events + o.flying, o.bytes + o.flyBytes
}

func (o *outbox) empty() bool { return o.inFlight == nil && len(o.queue) == 0 }
