package partition

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How often a follower looks at the end of EVENTS-p while it waits for its owner to emit: at leisure, and when it cannot apply more before.
const (
	lookEvery     = 500 * time.Millisecond
	lookEveryFull = 50 * time.Millisecond
)

// lookout lets a partition that does not emit learn what its owner has emitted: from EVENTS-p itself, because that is the truth, and needs no
// owner that tells. It belongs to the actor.
type lookout struct {
	looking bool
	again   time.Time // not before this
	seen    chan sighting
	doubt   doubt // that EVENTS-p holds what was seen in it, and followed from this log
}

// sighting is how a read of the end of EVENTS-p ended.
type sighting struct {
	place place
	err   error
}

// emits says whether this partition puts events into EVENTS-p. A partition that is to lead does so already while it replays: there
// may be more to derive than it can hold, and nobody else to emit it.
func (a *actor) emits() bool { return a.Leading() }

// lookOut reads the end of EVENTS-p if somebody else has to emit what is derived here.
func (a *actor) lookOut(now time.Time) {
	l := &a.lookout
	if a.emits() || l.looking || !a.awaits() || now.Before(l.again) {
		return
	}
	l.looking = true
	known := a.reached
	a.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, a.cfg.BrokerTimeout)
		defer cancel()
		end, err := readPlace(ctx, a.deps.Broker, a.cfg.Partition, known)
		l.seen <- sighting{end, err}
	})
}

// awaits says whether anything derived here is not known to be emitted. What is in flight is known soon.
func (a *actor) awaits() bool { return a.outbox.inFlight == nil && !a.outbox.empty() }

// sighted notes what EVENTS-p holds.
func (a *actor) sighted(s sighting) error {
	l := &a.lookout
	l.looking, l.again = false, a.deps.Now().Add(lookEvery)
	if a.full() {
		l.again = a.deps.Now().Add(lookEveryFull)
	}
	err := s.err
	if err == nil && (s.place.seq < a.reached || s.place.number < a.outbox.emitted) {
		err = eventsLost(a.cfg.Partition, s.place, place{seq: a.reached, number: a.outbox.emitted})
	}
	if err != nil {
		return a.unsighted(err)
	}
	l.doubt.over()
	a.sender.place = s.place
	a.arrived(s.place)
	return nil
}

// unsighted shows why it is not known what EVENTS-p holds, or returns the halt to which that amounts.
func (a *actor) unsighted(err error) error {
	var f *foreign
	if errors.As(err, &f) {
		if halt := a.lookout.doubt.found(f); halt != nil {
			return halt
		}
		err = doubted(f)
	}
	a.view.update(func(f *facts) { f.emitErr = fmt.Errorf("read last events: %w", err) })
	return nil
}

// arrived notes that EVENTS-p ends at a place.
func (a *actor) arrived(end place) {
	a.reached = end.seq
	a.outbox.skipTo(end.number)
	a.view.update(func(f *facts) { f.emitted, f.emitErr = a.outbox.emitted, nil })
	if end.number > a.derived {
		a.overtook.end, a.overtook.seq = end, 0
		a.desk.readBound(nil)
	}
}

// lookDue is when to look again without being called; zero = not by itself.
func (a *actor) lookDue() time.Time {
	if a.emits() || a.lookout.looking || !a.awaits() {
		return time.Time{}
	}
	return a.lookout.again
}
