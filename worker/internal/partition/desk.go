package partition

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// question is one request on state.p. It is answered once.
type question struct {
	msg      *nats.Msg
	req      statequery.Request
	deadline time.Time
	answered bool

	// What is found out about it on the way.
	bound  uint64 // the log's last sequence, read after the question came; negatives are final once that is applied
	read   bool   // bound was read
	lookup *lookup
}

// desk answers questions. It belongs to the actor, except for its three helpers: the receiver, which decodes questions; the
// writer, which encodes answers; and reads from the leader of the log.
type desk struct {
	a *actor

	trouble   telemetry.Trouble // with answering
	sub       *nats.Subscription
	open      bool   // somebody writes answers
	stop      func() // ends receiving, and writing once all is written that was answered
	questions chan *question
	answers   chan answer

	waiting  int                             // questions in hand that are not answered
	bySeq    seqHeap                         // until a sequence is applied
	byRecord map[record.Position][]*question // until the outcome of a scheduled trigger changes
	expiry   time.Time                       // no waiting question has a deadline before this; zero = none waits

	reading bool // a read of the last sequence is under way
	next    []*question
	again   bool // readBound was called for the actor itself
	bounds  chan bound

	lookups int // reads of single messages under way
	found   chan lookup
}

// bound is the result of a read of the last sequence, for the questions that came before it began.
type bound struct {
	asked  []*question
	have   uint64 // applied when it began
	seq    uint64
	err    error
	actors bool
}

// maxLookups bounds the reads of single messages that run at once.
const maxLookups = 16

func (d *desk) init(a *actor) {
	d.trouble.Quiet = telemetry.Soon
	d.a = a
	d.questions = make(chan *question, a.cfg.MaxQuestions)
	d.answers = make(chan answer, a.cfg.MaxQuestions)
	d.byRecord = make(map[record.Position][]*question)
	d.bounds = make(chan bound, 1)
	d.found = make(chan lookup, maxLookups)
}

// begin receives questions, until close.
func (d *desk) begin() error {
	inbox := make(chan *nats.Msg, d.a.cfg.MaxQuestions)
	sub, err := d.a.deps.Broker.Conn.ChanSubscribe(broker.StateSubject(d.a.cfg.Partition), inbox)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", broker.StateSubject(d.a.cfg.Partition), err)
	}
	d.sub, d.open = sub, true
	receiving, endReceiving := context.WithCancel(d.a.work)
	writing, endWriting := context.WithCancel(d.a.work)
	received := make(chan struct{})
	d.a.wg.Go(func() { defer close(received); d.receive(receiving, inbox) })
	d.a.wg.Go(func() { d.write(writing) })
	d.stop = func() {
		endReceiving()
		<-received
		d.refuseAll()
		d.open = false
		endWriting()
	}
	return nil
}

// close ends receiving and tells those who wait to ask the next owner.
func (d *desk) close() {
	if d.sub == nil {
		return
	}
	if err := d.sub.Unsubscribe(); err != nil {
		d.a.log.Debug("questions were not unsubscribed", "cause", err)
	}
	d.sub = nil
	d.stop()
}

// refuseAll refuses what waits, and what was received and not looked at.
func (d *desk) refuseAll() {
	for _, q := range d.all() {
		d.refuse(q, statequery.WordBehind)
	}
	for len(d.questions) > 0 {
		d.refuse(<-d.questions, statequery.WordBehind)
	}
	d.sweep()
	d.expiry = time.Time{}
}

// receive decodes questions, so that the actor does not have to. What does not fit in the actor's queue is refused at once.
func (d *desk) receive(ctx context.Context, inbox <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-inbox:
			d.admit(msg)
		}
	}
}

func (d *desk) admit(msg *nats.Msg) {
	req, err := statequery.DecodeRequest(msg.Data)
	q := &question{msg: msg, req: req, deadline: d.a.deps.Now().Add(d.hold(req))}
	if err != nil {
		d.respond(answer{q: q, reply: statequery.Reply{Error: statequery.WordBadRequest}})
		return
	}
	select {
	case d.questions <- q:
	default:
		d.respond(answer{q: q, reply: statequery.Reply{Error: statequery.WordOverloaded}})
	}
}

// hold is how long the answer may be held: as long as the question says, but at least a moment for a negative about a user or an
// outcome to become final.
func (d *desk) hold(req statequery.Request) time.Duration {
	hold := time.Duration(req.WaitMillis) * time.Millisecond
	if req.User != nil || req.Outcome != nil {
		hold = max(hold, d.a.cfg.NegativeWait)
	}
	return min(hold, statequery.MaxWait)
}

// ask begins a question's life.
func (d *desk) ask(q *question) {
	if d.waiting >= d.a.cfg.MaxWaiting {
		d.refuse(q, statequery.WordOverloaded)
		return
	}
	d.waiting++
	if q.req.WaitSeq > d.a.last.seq {
		d.awaitSeq(q, q.req.WaitSeq)
		return
	}
	d.answer(q)
}

// awaitSeq answers q once seq is applied.
func (d *desk) awaitSeq(q *question, seq uint64) {
	d.bySeq.add(seq, q)
	d.note(q)
}

// awaitChange answers q once the outcome of a scheduled trigger changes.
func (d *desk) awaitChange(q *question, pos record.Position) {
	d.byRecord[pos] = append(d.byRecord[pos], q)
	d.note(q)
}

func (d *desk) note(q *question) {
	if d.expiry.IsZero() || q.deadline.Before(d.expiry) {
		d.expiry = q.deadline
	}
}

// applied answers those who waited for what is applied now.
func (d *desk) applied() {
	for {
		q, ok := d.bySeq.next(d.a.last.seq)
		if !ok {
			break
		}
		if !q.answered {
			d.answer(q)
		}
	}
}

// changed notes that a record has another outcome now; called from within the machine, so nothing is answered yet.
func (d *desk) changed(pos record.Position) {
	if qs, ok := d.byRecord[pos]; ok {
		delete(d.byRecord, pos)
		for _, q := range qs {
			d.bySeq.add(0, q) // the next round of applied answers it
		}
	}
}

// minExpiry is the least time between two searches for questions whose time is over.
const minExpiry = 5 * time.Millisecond

// expire answers those whose time is over with what is known.
func (d *desk) expire(now time.Time) {
	if d.expiry.IsZero() || now.Before(d.expiry) {
		return
	}
	d.expiry = time.Time{}
	for _, q := range d.all() {
		if now.Before(q.deadline) {
			d.note(q)
		} else {
			d.giveUp(q)
		}
	}
	if floor := now.Add(minExpiry); !d.expiry.IsZero() && d.expiry.Before(floor) {
		d.expiry = floor
	}
	d.sweep()
}

// all is every question that waits for something to be applied.
func (d *desk) all() []*question {
	var qs []*question
	for _, w := range d.bySeq {
		if !w.q.answered {
			qs = append(qs, w.q)
		}
	}
	for _, w := range d.byRecord {
		for _, q := range w {
			if !q.answered {
				qs = append(qs, q)
			}
		}
	}
	return qs
}

// sweep forgets the questions that were answered while they waited.
func (d *desk) sweep() {
	d.bySeq.sweep()
	for pos, qs := range d.byRecord {
		if qs = unanswered(qs); len(qs) == 0 {
			delete(d.byRecord, pos)
		} else {
			d.byRecord[pos] = qs
		}
	}
}

func unanswered(qs []*question) []*question {
	kept := qs[:0]
	for _, q := range qs {
		if !q.answered {
			kept = append(kept, q)
		}
	}
	return kept
}

// watched lets the desk see outcomes that change after their message.
type watched struct {
	*store.Store
	desk *desk
}

func (w watched) PutOutcome(hour int64, out machine.Outcome) {
	w.Store.PutOutcome(hour, out)
	w.desk.changed(out.Position)
}
