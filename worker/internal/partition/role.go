package partition

import (
	"context"
	"errors"
	"time"
)

// Lead makes this partition its deployment's owner, as it is at first: once it has applied all that is in the log it emits, ticks and answers. A
// partition that leads already and is told so again first proves once more that it has applied all: a worker that was cut off or
// frozen does not know what it missed.
func (p *Partition) Lead() {
	p.wish.Store(p.terms.Add(1))
	p.nudge()
}

// Follow makes this partition a standby: it goes on applying, and neither emits nor ticks nor answers. Its gauges are the owner's to show, except
// that it has halted.
func (p *Partition) Follow() {
	p.wish.Store(0)
	p.nudge()
}

// nudge lets the actor look at its role.
func (p *Partition) nudge() {
	select {
	case p.turned <- struct{}{}:
	default:
	}
}

// Leading says whether the partition is to lead; whether it does yet is for Serving to say.
func (p *Partition) Leading() bool { return p.wish.Load() != 0 }

// Serving says whether the partition leads, and has applied all that was in the log when it was last told to.
func (p *Partition) Serving() bool {
	wish := p.wish.Load()
	return wish != 0 && p.term.Load() == wish && p.State() == Serving
}

// proof is a read of the log's end, which whoever is to lead must have applied, and of the events, which must have followed from this log.
type proof struct {
	wish uint64
	have uint64 // applied when it was read
	seq  uint64
	err  error
}

// role is what the actor knows of its part. Its fields belong to the actor.
type role struct {
	proven  uint64 // the wish for which target was read
	reading bool
	again   time.Time // not before this
	pause   backoff
	proofs  chan proof
}

func newRole() role {
	return role{proofs: make(chan proof, 1), pause: backoff{min: minPause, max: maxPause}}
}

// turn follows what the partition is told to be.
func (a *actor) turn(now time.Time) error {
	wish, state := a.wish.Load(), a.State()
	if state == Serving {
		if wish != a.term.Load() {
			a.retire()
		}
		return nil
	}
	if a.last.seq < a.target {
		return nil
	}
	switch {
	case wish == 0 && state == Replaying:
		a.enter(Following, nil)
	case wish != 0 && a.role.proven == wish:
		return a.serve(wish)
	case wish != 0:
		a.prove(wish, now)
	}
	return nil
}

// serve begins to answer questions.
func (a *actor) serve(wish uint64) error {
	a.deps.Pulse.Rest() // a broker that is stuck may hold up whoever subscribes
	err := a.desk.begin()
	a.deps.Pulse.Turn()
	if err != nil {
		return a.halt("questions cannot be received", "look at the broker's connection and at what this worker's key may do"+thenResume, err)
	}
	a.term.Store(wish)
	a.enter(Serving, nil)
	return nil
}

// retire ends answering and ticking. A parcel in flight lands, or is refused; what waits behind it is kept until it is seen in EVENTS-p.
func (a *actor) retire() {
	a.deps.Pulse.Rest() // as when it subscribed
	a.desk.close()
	a.deps.Pulse.Turn()
	a.enter(Following, nil)
}

// prove reads the ends of events and log for a wish to lead.
func (a *actor) prove(wish uint64, now time.Time) {
	r := &a.role
	if r.reading || now.Before(r.again) {
		return
	}
	r.reading = true
	have, known, inDoubt := a.last.seq, a.reached, a.lookout.doubt.times > 0
	a.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, a.cfg.BrokerTimeout)
		defer cancel()
		seq, err := a.deps.Broker.LastSeq(ctx, a.cfg.Partition)
		_, unread := readPlace(ctx, a.deps.Broker, a.cfg.Partition, known)
		if inDoubt && unread != nil || errors.As(unread, new(*foreign)) { // without a doubt, events that cannot be read hold up nobody who asks
			err = unread
		}
		r.proofs <- proof{wish, have, seq, err}
	})
}

// proved notes how far this partition must have applied before it leads, or returns the halt to which it amounts that it may not.
func (a *actor) proved(p proof) error {
	r := &a.role
	r.reading = false
	if p.err != nil || p.seq < p.have { // less than what is applied: whoever said that has not heard of all, or the reader will find out
		r.again = a.deps.Now().Add(r.pause.pause())
		if errors.As(p.err, new(*foreign)) {
			return a.unsighted(p.err)
		}
		return nil
	}
	if a.lookout.doubt.over() {
		a.view.update(func(f *facts) { f.emitErr = nil })
	}
	r.pause.reset()
	r.proven, a.target = p.wish, max(a.target, p.seq)
	a.view.update(func(f *facts) { f.last = max(f.last, p.seq) })
	return nil
}

// turnDue is when the actor has to look after its role without being told; zero = not by itself.
func (a *actor) turnDue() time.Time {
	if a.role.reading || !a.Leading() || a.State() == Serving {
		return time.Time{}
	}
	return a.role.again
}
