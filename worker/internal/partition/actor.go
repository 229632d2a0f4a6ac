package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/shared/tracing"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// actor is a running partition. Its fields belong to the goroutine of Run.
type actor struct {
	*Partition
	born    time.Time
	store   *store.Store
	machine *machine.Machine // nil: not begun yet

	last    mark   // the last message applied
	current mark   // the one that is being applied
	derived uint64 // the last event number derived
	ledger  machine.Ledger
	reached uint64 // the sequence in EVENTS-p of the last event that is known to be there
	target  uint64 // replaying is over once this is applied

	work   context.Context // of the helper goroutines
	cancel context.CancelFunc
	wg     sync.WaitGroup

	in         chan delivery
	stopSource func() // ends the source and waits for it

	outbox   outbox
	traced   []tracing.Span // of the message that is being applied
	sender   sender
	sendAt   time.Time // when the next parcel that is not full may leave, by the real clock
	overtook overtook

	generation  *generation       // frozen, not committed yet
	uncommitted telemetry.Trouble // with committing one
	unrestored  telemetry.Trouble // with restoring a snapshot
	committed   chan error
	frozenSeq   uint64    // the last one that is in a frozen or committed generation
	dirtySince  time.Time // when the first message after frozenSeq was applied

	pacer     *pacer
	suspicion chan error   // that the file is damaged
	logged    atomic.Int64 // bytes of the log's payload applied

	role     role
	lookout  lookout
	comparer comparer
	ticker   ticker
	desk     desk
	timer    *time.Timer
	armed    time.Time // when the timer fires; zero = it has fired
}

func newActor(p *Partition) *actor {
	a := &actor{Partition: p, in: make(chan delivery, p.cfg.MessagesInHand), committed: make(chan error, 1), suspicion: make(chan error, 1), pacer: newPacer(), born: p.deps.Now(), stopSource: func() {}}
	a.work, a.cancel = context.WithCancel(context.Background())
	a.outbox.limit = p.cfg.EventsMessage
	a.sender = sender{p: p, done: make(chan landing, 1), doubt: doubt{p: p}}
	a.overtook.doubt = doubt{p: p}
	a.role, a.ticker, a.lookout = newRole(), newTicker(p.cfg), lookout{seen: make(chan sighting, 1), doubt: doubt{p: p}}
	a.comparer = comparer{answers: make(chan digestAt, 1), client: statequery.NewClient(p.deps.Broker.Conn)}
	a.timer = time.NewTimer(p.cfg.PollEvery)
	a.desk.init(a)
	return a
}

// live goes through the states. nil means drained.
func (a *actor) live(ctx context.Context) error {
	if err := a.open(ctx); err != nil || a.machine == nil {
		return err
	}
	if err := a.check(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	a.enter(Replaying, nil)
	a.startSource()
	a.spawn(a.poll)
	endSnapshots := a.keepSnapshots()
	err := a.loop(ctx)
	endSnapshots()
	if err != nil {
		return err
	}
	a.enter(Draining, nil)
	return a.drain()
}

// check waits for the broker and sees whether log and events are those that the file belongs to. It returns nil without a result when
// ctx ends.
func (a *actor) check(ctx context.Context) error { return a.patiently(ctx, a.checkOnce) }

// patiently repeats a look at the broker until it succeeds, or finds a fault of identity again and again.
func (a *actor) patiently(ctx context.Context, look func(context.Context) error) error {
	pause, d := backoff{min: minPause, max: maxPause}, doubt{p: a.Partition}
	var trouble telemetry.Trouble
	for ctx.Err() == nil {
		err := look(ctx)
		var f *foreign
		switch {
		case err == nil:
			d.over()
			a.view.update(func(f *facts) { f.sourceErr = nil })
			trouble.Over(a.log, "broker answers again")
			return nil
		case errors.As(err, &f):
			if halt := d.found(f); halt != nil {
				return halt
			}
			err = doubted(f)
		case errors.As(err, new(*HaltError)):
			return err
		}
		a.view.update(func(f *facts) { f.sourceErr = fmt.Errorf("check log: %w", err) })
		if f == nil && ctx.Err() == nil {
			trouble.Again(a.log, slog.LevelWarn, "waiting for the broker", "cause", err)
		}
		pause.wait(ctx)
	}
	return nil
}

func (a *actor) checkOnce(ctx context.Context) error {
	b, p, wish := a.deps.Broker, a.cfg.Partition, a.wish.Load()
	if err := verify(ctx, b, p, a.last); err != nil {
		return err
	}
	c, ok := a.store.Last()
	end, err := readPlace(ctx, b, p, c.EmittedSeq)
	if err != nil {
		return err
	}
	if ok && (end.number < c.Head.Events || end.seq < c.EmittedSeq) {
		return eventsLost(p, end, place{number: c.Head.Events, seq: c.EmittedSeq})
	}
	if end.seq == 0 { // empty; if it was not always, nothing can be put where it began
		switch seq, err := b.EventsEnd(ctx, p); {
		case err != nil:
			return err
		case seq > 0:
			return eventsLost(p, end, place{number: c.Head.Events, seq: seq})
		}
	}
	last, err := b.LastSeq(ctx, p) // after the events: everything that led to them is in the log up to here
	if err != nil {
		return err
	}
	if err := lostTail(last, a.last, nil); err != nil {
		return err
	}
	a.target, a.role.proven = last, wish
	a.sender.place, a.reached, a.outbox.emitted = end, end.seq, end.number
	if end.number > a.derived {
		a.overtook.end, a.overtook.seq = end, max(last, 1)
	}
	a.view.update(func(f *facts) { f.last, f.emitted = max(f.last, last), end.number })
	return nil
}

// spawn runs a helper goroutine that ends when its context does.
func (a *actor) spawn(f func(ctx context.Context)) {
	a.wg.Go(func() { f(a.work) })
}

func (a *actor) startSource() {
	ctx, cancel := context.WithCancel(a.work)
	s := &source{p: a.Partition, log: a.log, last: a.last, out: a.in, foreign: doubt{p: a.Partition}, gaps: doubt{p: a.Partition}}
	ended := make(chan struct{})
	a.wg.Go(func() { defer close(ended); s.run(ctx) })
	a.stopSource = func() { cancel(); <-ended }
}

// shut ends the helper goroutines, whatever they are doing, and closes the file. What is not committed is given up.
func (a *actor) shut() {
	a.desk.close()
	a.cancel()
	a.pacer.hurried.Store(true)
	a.wg.Wait()
	a.timer.Stop()
	a.closeStore()
}

// loop is the actor's life between the check and draining. It returns nil when ctx ends.
func (a *actor) loop(ctx context.Context) error {
	defer a.deps.Pulse.Rest()
	for ctx.Err() == nil {
		a.deps.Pulse.Turn() // at least every PollEvery: the timer sees to that
		if err := a.tend(); err != nil {
			return err
		}
		if err := a.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step does the one thing that is next. What waits at the same time is picked from at random, so messages, questions and
// acknowledgements do not starve each other.
func (a *actor) step(ctx context.Context) error {
	in := a.in
	if a.full() || a.overtook.doubtful() {
		in = nil
	}
	select {
	case <-ctx.Done():
	case d := <-in:
		return a.apply(d)
	case q := <-a.desk.questions:
		a.desk.ask(q)
	case call := <-a.calls:
		call(a)
	case l := <-a.sender.done:
		return a.landed(l)
	case err := <-a.committed:
		return a.commitEnded(err)
	case err := <-a.suspicion:
		return err
	case b := <-a.desk.bounds:
		a.desk.bounded(b)
	case f := <-a.desk.found:
		a.desk.looked(f)
	case t := <-a.ticker.done:
		a.ticked(t)
	case <-a.turned:
	case p := <-a.role.proofs:
		return a.proved(p)
	case s := <-a.lookout.seen:
		return a.sighted(s)
	case d := <-a.comparer.answers:
		a.compared(d)
	case <-a.timer.C:
		a.armed = time.Time{}
		a.overtakenAgain()
	}
	return nil
}

// full says whether applying has to pause: too much is unacknowledged, or the overlay grows faster than it is committed.
func (a *actor) full() bool {
	events, bytes := a.outbox.unacknowledged()
	return events >= a.cfg.UnackedEvents || bytes >= a.cfg.UnackedBytes || a.generation != nil && a.overlayFull()
}

// apply applies one message of the log.
func (a *actor) apply(d delivery) error {
	if d.err != nil {
		return d.err
	}
	if err := a.fail(StepReceived); err != nil {
		return err
	}
	if d.msg.Seq != a.last.seq+1 {
		return a.halt(fmt.Sprintf("message %d came after message %d", d.msg.Seq, a.last.seq), "report this as a fault of triggerd, with this log"+thenResume+", which replays from the last checkpoint", nil)
	}
	begun := a.beginSpans()
	a.current = d.mark
	res, err := a.judge(d.msg)
	if err != nil {
		return err
	}
	a.endSpans(begun)
	a.last = d.mark
	a.logged.Add(stored(&d.msg))
	if a.dirtySince.IsZero() {
		a.dirtySince = a.deps.Now()
		a.showAge()
	}
	if err := a.fail(StepApplied); err != nil {
		return err
	}
	a.count(&res)
	a.ticker.stale = true
	a.desk.applied()
	a.digestHere()
	return nil
}

// messageOverhead is about what the log keeps of a message besides its headers and its payload: subject, sequence, time, checksum.
const messageOverhead = 64

// stored is about what a message takes in the log.
func stored(m *machine.Message) int64 {
	size := messageOverhead + len(m.Payload)
	for name, values := range m.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	return int64(size)
}

// emit takes an event from the machine.
func (a *actor) emit(e *machine.Event) {
	a.derived = e.Number
	a.outbox.add(e, a.current)
	a.beginSpan(e)
}

// count shows what a message did; from here on it can be read.
func (a *actor) count(res *machine.Result) {
	a.ledger.Add(res)
	if res.Panic != nil {
		trace, _ := tracing.Parse(res.PanicTrace)
		a.log.Error("record became a dead letter: its judgement panicked", trace.Attrs("seq", a.last.seq, "cause", res.Panic)...)
	}
	a.view.update(func(f *facts) {
		f.applied, f.events, f.pending, f.skew = a.last.seq, a.derived, a.machine.Pending(), res.ClockSkew
		f.keys, f.keysMax = a.machine.Keys()
		f.ledger = a.ledger
		f.batch = f.batch*0.9 + float64(res.Records)*0.1
		f.last = max(f.last, a.last.seq)
	})
	if a.emits() { // a standby would count everything a second time
		a.deps.Metrics.count(a.label(), res)
	}
}

// tend does what is due after every step.
func (a *actor) tend() error {
	now := a.deps.Now()
	if err := a.turn(now); err != nil {
		return err
	}
	if err := a.checkOvertaken(); err != nil {
		return err
	}
	a.send()
	a.lookOut(now)
	a.compare(now)
	a.checkpoint(now)
	if err := a.tick(now); err != nil {
		return err
	}
	a.desk.expire(now)
	a.wake(now)
	return nil
}

// send puts the next parcel on its way, if none is and it is time or the parcel is full.
func (a *actor) send() {
	if !a.emits() || a.lookout.looking || a.outbox.loose() && time.Now().Before(a.sendAt) {
		return
	}
	a.sendNow()
}

func (a *actor) sendNow() {
	if p := a.outbox.take(); p != nil {
		a.sendAt = time.Now().Add(a.cfg.EmitEvery)
		a.spawn(func(ctx context.Context) { a.sender.fly(ctx, p) })
	}
}

// sendDue is when a parcel that is not full may leave, by the clock of which it is now; zero = none waits for that.
func (a *actor) sendDue(now time.Time) time.Time {
	if !a.emits() || !a.outbox.loose() {
		return time.Time{}
	}
	return now.Add(time.Until(a.sendAt))
}

// landed notes what EVENTS-p holds now.
func (a *actor) landed(l landing) error {
	if l.err != nil {
		return l.err
	}
	before := a.outbox.emitted
	a.outbox.landed()
	a.arrived(l.place)
	a.deps.Metrics.emitted.WithLabelValues(a.label()).Add(float64(min(l.number, a.derived) - min(before, a.derived)))
	return nil
}

// wake sets the timer for whatever is due next, and for PollEvery from now anyway, because the clock may be set.
func (a *actor) wake(now time.Time) {
	next := now.Add(a.cfg.PollEvery)
	for _, at := range [...]time.Time{a.checkpointDue(), a.tickDue(), a.sendDue(now), a.lookDue(), a.turnDue(), a.compareDue(), a.overtakenDue(), a.desk.expiry} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if a.armed.IsZero() || next.Before(a.armed) {
		a.armed = next
		a.timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}
