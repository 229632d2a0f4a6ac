package appender

import (
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// state of a call, in life order.
type state uint8

const (
	queued    state = iota // in its partition's queue
	sent                   // in the batch in flight; its caller waits
	abandoned              // in the batch in flight; its caller is gone
	answered               // pos and err are set, done is signalled (or about to be)
)

// call is one caller's record on its way. The partition's lock guards it until it is answered.
type call struct {
	line     []byte
	account  string
	deadline time.Time
	state    state
	number   uint64 // of its batch, once sent
	index    uint32 // in its batch, once sent

	pos  record.Position
	err  error
	done chan struct{} // capacity 1: signalling never blocks

	lane       *lane // while queued
	prev, next *call // in the lane
}

// lane is the calls of one account, oldest first.
type lane struct {
	account     string
	first, last *call
	prev, next  *lane // the ring of accounts that have calls
}

// maxSpareLanes bounds what the queue keeps of lanes it no longer needs.
const maxSpareLanes = 256

// queue holds the calls of a partition that were not sent yet. Accounts take turns, however many calls each has.
type queue struct {
	records, bytes int
	lanes          map[string]*lane
	turn           *lane // whose call is next
	spare          []*lane
}

func newQueue() queue { return queue{lanes: map[string]*lane{}} }

// push puts c behind the calls of its account. An account that comes new has its turn last.
func (q *queue) push(c *call) {
	l := q.lanes[c.account]
	if l == nil {
		l = q.open(c.account)
	}
	c.lane, c.prev, c.next = l, l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
	q.records++
	q.bytes += len(c.line)
}

// peek is the call whose turn it is, nil if there is none.
func (q *queue) peek() *call {
	if q.turn == nil {
		return nil
	}
	return q.turn.first
}

// pop removes the call whose turn it is; the turn passes on.
func (q *queue) pop() *call {
	c := q.turn.first
	q.turn = q.turn.next
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
	q.records--
	q.bytes -= len(c.line)
	if l.first == nil {
		q.close(l)
	}
}

// expire removes the calls whose deadline has come, and hands each to f. All calls have the same time to wait, so the
// oldest of a lane expires first.
func (q *queue) expire(now time.Time, f func(*call)) {
	for _, l := range q.lanes {
		for c := l.first; c != nil && !c.deadline.After(now); c = l.first { // a lane that runs empty is closed and cleared
			q.remove(c)
			f(c)
		}
	}
}

// open adds an account to the ring, just behind the one whose turn it would be last.
func (q *queue) open(account string) *lane {
	l := q.newLane()
	l.account = account
	q.lanes[account] = l
	if q.turn == nil {
		l.prev, l.next = l, l
		q.turn = l
		return l
	}
	l.prev, l.next = q.turn.prev, q.turn
	l.prev.next, l.next.prev = l, l
	return l
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

func (q *queue) close(l *lane) {
	delete(q.lanes, l.account)
	if q.turn == l {
		q.turn = l.next
	}
	if q.turn == l { // it was alone
		q.turn = nil
	}
	l.prev.next, l.next.prev = l.next, l.prev
	*l = lane{}
	if len(q.spare) < maxSpareLanes {
		q.spare = append(q.spare, l)
	}
}
