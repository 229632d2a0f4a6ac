package partition

import (
	"context"
)

// drain ends a life in good order: nothing more is read or answered, all events are emitted, all state is in the file. What cannot be
// done in DrainTimeout is left to the next start, which replays it.
func (a *actor) drain() error {
	a.deps.Pulse.Rest() // it has a time of its own
	a.stopSource()
	a.desk.close()
	ctx, cancel := context.WithTimeout(a.work, a.cfg.DrainTimeout)
	defer cancel()
	if !a.emits() && !a.emittedElsewhere(ctx) {
		return nil
	}
	for !a.drained() {
		if err := a.drainStep(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			events, _ := a.outbox.unacknowledged()
			a.log.Warn("partition was not drained in time", "unacknowledged", events, "applied", a.last.seq, "checkpoint", a.view.read().checkpointSeq)
			return nil
		}
	}
	return nil
}

// emittedElsewhere looks at EVENTS-p once: a standby's last checkpoint needs all to be there that it derived. If it is not, or nobody can tell, the
// next start replays a little more.
func (a *actor) emittedElsewhere(ctx context.Context) bool {
	for a.outbox.inFlight != nil && ctx.Err() == nil {
		if err := a.drainStep(ctx); err != nil {
			return false
		}
	}
	if a.lookout.looking {
		<-a.lookout.seen
	}
	end, err := readPlace(ctx, a.deps.Broker, a.cfg.Partition, a.reached)
	if err != nil || a.sighted(sighting{end, nil}) != nil {
		return false
	}
	return a.outbox.empty()
}

func (a *actor) drained() bool {
	return a.outbox.empty() && a.generation == nil && a.frozenSeq == a.last.seq
}

// drainStep does what can be done now and waits for the next acknowledgement or commit.
func (a *actor) drainStep(ctx context.Context) error {
	a.sendNow()
	if a.generation == nil && a.last.seq > a.frozenSeq {
		a.freeze()
	}
	a.pacer.hurried.Store(true)
	now := a.deps.Now()
	a.commit(now)
	a.armed = now.Add(minCommitPause)
	a.timer.Reset(minCommitPause) // for a commit that failed
	select {
	case <-ctx.Done():
	case l := <-a.sender.done:
		return a.landed(l)
	case err := <-a.committed:
		return a.commitEnded(err)
	case <-a.timer.C:
	}
	return nil
}
