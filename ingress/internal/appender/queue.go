package appender

import (
	"time"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/tracing"
)

// state of a call, in life order.
type state uint8

const (
	queued    state = iota // in its partition's queue
	sent                   // in the batch in flight; its caller waits
	abandoned              // in the batch in flight; its caller is gone
	answered               // pos and err are set, done is signalled (or about to be)
)

// class of a call: those of a lower one leave first.
type class uint8

const (
	usual class = iota
	bulk
	classes // how many there are
)

// call is one caller's record on its way. The partition's lock guards it until it is answered.
type call struct {
	line     []byte
	account  string
	class    class
	deadline time.Time
	trace    tracing.Context // where spans are kept
	state    state
	number   uint64 // of its batch, once sent
	index    uint32 // in its batch, once sent

	pos  record.Position
	err  error
	done chan struct{} // capacity 1: signalling never blocks

	lane       *lane // while queued
	prev, next *call // in the lane
}

// lane is the calls of one account and class, oldest first.
type lane struct {
	account        string
	records, bytes int
	first, last    *call
	prev, next     *lane // the ring of lanes that have calls
}

// ring is the accounts of one class that have calls. They take turns, however many calls each has.
type ring struct {
	lanes map[string]*lane
	turn  *lane // whose call is next
}

// maxSpareLanes bounds what the queue keeps of lanes it no longer needs.
const maxSpareLanes = 256

// queue holds the calls of a partition that were not sent yet.
type queue struct {
	records, bytes int
	rings          [classes]ring
	spare          []*lane
}

func newQueue() queue {
	var q queue
	for i := range q.rings {
		q.rings[i].lanes = map[string]*lane{}
	}
	return q
}

// room is what still fits for an account among all that may wait: as much as is left for everybody else. So one that floods has half of the queue, two have a
// third each, and there is room for whoever comes new.
func (q *queue) room(account string, records, bytes int) (int, int) {
	records, bytes = records-q.records, bytes-q.bytes
	for i := range q.rings {
		if l := q.rings[i].lanes[account]; l != nil {
			records, bytes = records-l.records, bytes-l.bytes
		}
	}
	return records, bytes
}

// push puts c behind the calls of its account. An account that comes new has its turn last.
func (q *queue) push(c *call) {
	r := &q.rings[c.class]
	l := r.lanes[c.account]
	if l == nil {
		l = q.newLane()
		l.account = c.account
		r.open(l)
	}
	c.lane, c.prev, c.next = l, l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
	l.records, l.bytes = l.records+1, l.bytes+len(c.line)
	q.records, q.bytes = q.records+1, q.bytes+len(c.line)
}

// peek is the call whose turn it is, nil if there is none.
func (q *queue) peek() *call {
	for i := range q.rings {
		if l := q.rings[i].turn; l != nil {
			return l.first
		}
	}
	return nil
}

// pop removes the call that peek shows; the turn passes on.
func (q *queue) pop() *call {
	c := q.peek()
	q.rings[c.class].turn = c.lane.next
	q.remove(c)
	return c
}

// remove takes c out, wherever it stands.
func (q *queue) remove(c *call) {
	l := c.lane
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.lane, c.prev, c.next = nil, nil, nil
	l.records, l.bytes = l.records-1, l.bytes-len(c.line)
	q.records, q.bytes = q.records-1, q.bytes-len(c.line)
	if l.first == nil {
		q.rings[c.class].close(l)
		q.keep(l)
	}
}

// expire removes the calls whose deadline has come, and hands each to f. All calls have the same time to wait, so the
// oldest of a lane expires first.
func (q *queue) expire(now time.Time, f func(*call)) {
	for i := range q.rings {
		for _, l := range q.rings[i].lanes {
			for c := l.first; c != nil && !c.deadline.After(now); c = l.first { // a lane that runs empty is closed and cleared
				q.remove(c)
				f(c)
			}
		}
	}
}

func (q *queue) newLane() *lane {
	n := len(q.spare)
	if n == 0 {
		return &lane{}
	}
	l := q.spare[n-1]
	q.spare = q.spare[:n-1]
	return l
}

func (q *queue) keep(l *lane) {
	*l = lane{}
	if len(q.spare) < maxSpareLanes {
		q.spare = append(q.spare, l)
	}
}

// open adds a lane behind the one whose turn would be last.
func (r *ring) open(l *lane) {
	r.lanes[l.account] = l
	if r.turn == nil {
		l.prev, l.next = l, l
		r.turn = l
		return
	}
	l.prev, l.next = r.turn.prev, r.turn
	l.prev.next, l.next.prev = l, l
}

func (r *ring) close(l *lane) {
	delete(r.lanes, l.account)
	if r.turn == l {
		r.turn = l.next
	}
	if r.turn == l { // it was alone
		r.turn = nil
	}
	l.prev.next, l.next.prev = l.next, l.prev
}
