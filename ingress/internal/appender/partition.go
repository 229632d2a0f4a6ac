package appender

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/telemetry"
)

var (
	errAway      = errors.New("broker is away")
	errStalled   = errors.New("log does not answer")
	errQueueFull = errors.New("queue is full")
	errShare     = errors.New("account has as many records in the queue as are left for everybody else")
	errDraining  = errors.New("shutting down")
	errTimeout   = errors.New("not sent in time")
)

// ackBacklog holds the answers of a partition until its goroutine takes them. There is one attempt at a time; more
// answers than this at once are late copies' and may be lost.
const ackBacklog = 64

// partition packs and sends one partition's records. Its goroutine owns all but what mu guards.
type partition struct {
	a     *Appender
	id    int
	inbox string

	subject, stream string

	sub  *nats.Subscription
	acks chan *nats.Msg
	wake chan struct{} // capacity 1

	mu       sync.Mutex
	queue    queue
	draining bool
	flying   bool      // a batch is in flight
	since    time.Time // when it was first sent

	number        uint64
	reached       uint64  // the place of the last batch that was acknowledged
	flight, spare *flight // flight is in flight iff flying
	timer         *time.Timer
	armed         bool

	pulse   *lifecycle.Pulse
	trouble telemetry.Trouble
	ailing  atomic.Pointer[ailment] // nil: the last batch was taken
}

func newPartition(a *Appender, id int) (*partition, error) {
	p := &partition{
		a: a, id: id,
		inbox:   a.inbox + "." + strconv.Itoa(id),
		subject: broker.TriggersSubject(id),
		stream:  broker.TriggersStream(id),
		acks:    make(chan *nats.Msg, ackBacklog),
		wake:    make(chan struct{}, 1),
		queue:   newQueue(),
		flight:  &flight{},
		spare:   &flight{},
		timer:   time.NewTimer(time.Hour),
	}
	p.timer.Stop()
	var err error
	p.sub, err = a.conn.ChanSubscribe(p.inbox+".>", p.acks)
	return p, err
}

// enqueue takes a call in, or says why not.
func (p *partition) enqueue(c *call, now time.Time) (cause, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.draining:
		return causeDraining, errDraining
	case !p.a.connected.Load():
		return causeAway, errAway
	case p.flying && now.Sub(p.since) > p.a.cfg.StallAfter:
		return causeAway, errStalled
	}
	if cause, err := p.room(c); err != nil {
		return cause, err
	}
	c.state = queued
	p.queue.push(c)
	if !p.flying {
		p.poke()
	}
	return "", nil
}

// room says why c does not fit into the queue: because there is no place, or no more of them for its account. A record that is larger than all bytes fits
// into an empty queue. The caller holds mu.
func (p *partition) room(c *call) (cause, error) {
	q, size := &p.queue, len(c.line)
	if q.records == 0 {
		return "", nil
	}
	if q.records >= p.a.cfg.QueueRecords || q.bytes+size > p.a.cfg.QueueBytes {
		return causeQueueFull, errQueueFull
	}
	if records, bytes := q.room(c.account, p.a.cfg.QueueRecords, p.a.cfg.QueueBytes); records < 1 || bytes < size {
		return causeShare, errShare
	}
	return "", nil
}

// abandon takes a call back whose caller goes away because of why. It reports false if the call is already answered; the
// answer is then on its way.
func (p *partition) abandon(c *call, why error) (gone bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch c.state {
	case queued:
		p.queue.remove(c)
		p.a.release(c)
		return true, p.a.metrics.refuse(p.id, causeCanceled, why)
	case sent:
		c.state = abandoned // whoever resolves the batch releases it
		return true, p.unknown(c)
	default:
		return false, nil
	}
}

func (p *partition) unknown(c *call) error {
	p.a.metrics.unknown[p.id].Inc()
	return &UnknownError{Receipt: record.Receipt{Partition: p.id, Writer: p.a.writer, Number: c.number, Index: c.index}}
}

// poke makes the goroutine look around.
func (p *partition) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// drain refuses new calls; the goroutine ends when nothing is left.
func (p *partition) drain() {
	p.mu.Lock()
	p.draining = true
	p.mu.Unlock()
	p.poke()
}

// launch packs what waits and sends it, if nothing is in flight.
func (p *partition) launch() {
	if !p.a.connected.Load() || !p.pack(time.Now()) {
		return
	}
	f := p.flight
	p.address(f)
	p.a.metrics.batchRecords.Observe(float64(len(f.calls)))
	p.a.metrics.batchBytes.Observe(float64(len(f.payload)))
	p.send(f.since)
}

// pack moves calls from the queue into a new flight, an account after the other. It reports whether there is one.
func (p *partition) pack(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying || p.queue.records == 0 {
		return false
	}
	f := p.flight
	p.number++
	*f = flight{number: p.number, calls: f.calls[:0], payload: f.payload[:0], since: now, wait: p.a.cfg.RepeatAfter}
	for c := p.queue.peek(); c != nil && p.fits(f, c); c = p.queue.peek() {
		p.queue.pop()
		f.add(c)
	}
	p.flying, p.since = true, now
	return true
}

// fits: a record may be larger than a batch should be if it is alone.
func (p *partition) fits(f *flight, c *call) bool {
	if len(f.calls) == 0 {
		return true
	}
	return len(f.calls) < p.a.cfg.BatchRecords && len(f.payload)+1+len(c.line) <= p.a.cfg.BatchBytes
}

// address makes the message of a packed flight. It stays the same over all attempts, but for the address of the answer.
func (p *partition) address(f *flight) {
	batch := record.Batch{
		Version: f.version, Writer: p.a.writer, Number: f.number, Time: f.since.UnixMilli(), Count: len(f.calls), Payload: f.payload,
	}
	f.msg = nats.Msg{Subject: p.subject, Header: batch.Header(), Data: f.payload}
	f.msg.Header[jetstream.ExpectedStreamHeader] = []string{p.stream}
}

// send makes an attempt. What the client does not even take is final if nothing was sent before; the run loop sees to
// that, because this may be called while an older flight is being resolved.
func (p *partition) send(now time.Time) {
	f := p.flight
	f.attempts++
	f.lost = p.a.lost.Load()
	f.repeatAt = now.Add(f.wait + rand.N(f.wait/4+1)) // not all at once
	f.wait = min(2*f.wait, p.a.cfg.RepeatMax)
	f.msg.Reply = replySubject(p.inbox, f.number, f.attempts)
	p.pulse.Rest() // a broker that is stuck may hold up whoever publishes, for as long as the client lets it
	err := p.a.conn.PublishMsg(&f.msg)
	p.pulse.Turn()
	switch {
	case err == nil:
	case neverSent(err) && f.attempts == 1:
		f.stillborn = err
		p.poke()
	case !neverSent(err):
		f.unsure = true
	}
}

// repeat sends the batch in flight again, under the same number.
func (p *partition) repeat(now time.Time) {
	f := p.flight
	f.unsure = true
	if !p.a.connected.Load() {
		return // as soon as it is connected
	}
	p.ailing.CompareAndSwap(nil, &ailment{at: now, why: errStalled})
	p.trouble.Again(p.a.log, slog.LevelWarn, "batch not acknowledged, repeating it until it is", "partition", p.id, "writer", p.a.writer, "number", f.number)
	p.a.metrics.repeats[p.id].Inc()
	p.send(now)
}

// lookAround reacts to what changed without an answer: the client did not take the batch, or the connection over which
// it was sent is gone, and with it the answer, so it is repeated at once.
func (p *partition) lookAround() {
	switch f := p.flight; {
	case !p.flying:
	case f.stillborn != nil:
		p.refused(f.stillborn)
	case f.lost != p.a.lost.Load():
		p.repeat(time.Now())
	}
}

// tick answers the calls whose time is up and repeats a batch that has waited long enough.
func (p *partition) tick(now time.Time) {
	p.expire(now)
	if p.flying && !now.Before(p.flight.repeatAt) {
		p.repeat(now)
	}
}

// expire answers those whose deadline has come: what was not sent is withdrawn, what was is unknown.
func (p *partition) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.expire(now, func(c *call) {
		p.settle(c, record.Position{}, p.a.metrics.refuse(p.id, causeTimeout, errTimeout))
	})
	if p.flying {
		p.forgo(func(c *call) bool { return !c.deadline.After(now) })
	}
}

// forgo answers the calls in flight that which selects: their fate is unknown. The caller holds mu.
func (p *partition) forgo(which func(*call) bool) {
	for i, c := range p.flight.calls {
		if c != nil && c.state == sent && which(c) {
			p.flight.calls[i] = nil
			p.settle(c, record.Position{}, p.unknown(c))
		}
	}
}

// settle answers a call. The caller holds mu and forgets c.
func (p *partition) settle(c *call, pos record.Position, err error) {
	c.pos, c.err, c.state = pos, err, answered
	c.done <- struct{}{}
}

// answer takes the log's word on an attempt.
func (p *partition) answer(msg *nats.Msg) {
	f := p.flight
	if !p.flying || answeredNumber(p.inbox, msg.Subject) != f.number {
		return // of a copy whose batch is resolved
	}
	switch verdict, seq, err := judge(msg); verdict {
	case stored:
		p.landed(seq)
	case refused:
		if f.attempts == 1 && !f.unsure && f.lost == p.a.lost.Load() {
			p.refused(err)
		}
	}
}

// landed resolves the batch in flight: it lies at seq. The next one leaves before the callers are told.
func (p *partition) landed(seq uint64) {
	p.tally(seq)
	p.ailing.Store(nil)
	p.exportFlight(seq, "")
	p.trouble.Over(p.a.log, "log takes batches again", "partition", p.id, "number", p.flight.number, "attempts", p.flight.attempts)
	p.resolve(func(index int) (record.Position, error) {
		return record.Position{Seq: seq, Index: uint32(index)}, nil
	})
}

// refused resolves the batch in flight: it was not stored and is not on its way.
func (p *partition) refused(why error) {
	p.ailing.Store(&ailment{at: time.Now(), why: why})
	p.trouble.Again(p.a.log, slog.LevelWarn, "log refuses a batch, nothing of it is stored", "partition", p.id, "number", p.flight.number, "error", why)
	p.exportFlight(0, "refused")
	n := len(p.flight.calls)
	p.a.metrics.refused(p.id, causeRefused, n)
	err := fmt.Errorf("%w: %w", ErrUnavailable, why)
	p.resolve(func(int) (record.Position, error) { return record.Position{}, err })
}

// resolve answers the callers of the batch in flight, after the next batch has been sent.
func (p *partition) resolve(fate func(index int) (record.Position, error)) {
	done := p.flight
	p.mu.Lock()
	for i, c := range done.calls {
		switch {
		case c == nil:
		case c.state == abandoned:
			p.a.release(c)
			done.calls[i] = nil
		default:
			c.pos, c.err = fate(i)
			c.state = answered
		}
	}
	p.flying = false
	p.mu.Unlock()
	p.flight, p.spare = p.spare, p.flight
	p.launch()
	for i, c := range done.calls {
		if c != nil {
			c.done <- struct{}{}
			done.calls[i] = nil
		}
	}
}

// giveUp answers everybody as it stands.
func (p *partition) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying || p.queue.records > 0 {
		p.a.gaveUp.Store(true)
	}
	for c := p.queue.peek(); c != nil; c = p.queue.peek() {
		p.queue.pop()
		p.settle(c, record.Position{}, p.a.metrics.refuse(p.id, causeDraining, errDraining))
	}
	if p.flying {
		p.forgo(func(*call) bool { return true })
		p.flying = false
	}
}
