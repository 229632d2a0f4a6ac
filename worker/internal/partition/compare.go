package partition

import (
	"context"
	"fmt"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

// comparer lets a standby hold its state against the owner's: equal logs lead to equal digests, so a difference is a fault of a machine, a disk or
// a program. It belongs to the actor.
//
// Both must look at the same sequence. So the standby asks the owner for its digest at a sequence that neither has reached yet, and takes its own there;
// while the log is silent the owner answers where it is, which is where the standby is too.
type comparer struct {
	asking  bool
	again   time.Time
	lastSeq uint64 // applied at the last comparison, for the pace of the log
	cut     uint64 // where the own digest is to be taken
	own     digestAt
	theirs  digestAt // known before it is reached here
	answers chan digestAt
	client  *statequery.Client
}

// digestAt is a digest of the state after a sequence; err: there is none.
type digestAt struct {
	seq    uint64
	digest string
	err    error
}

// What came of a comparison, as the metric calls it.
const (
	digestsEqual     = "equal"
	digestsDifferent = "different"
	digestsMissed    = "missed" // the two were not at the same place, or nobody answered
)

const (
	compareAhead = 500 * time.Millisecond // the pace of the log says how far off the cut is
	compareWait  = time.Second            // how long the owner may wait for the cut
	digestDiffer = "a damaged disk or memory, or two builds, are likely: pause the partition (worker pause), copy its file from both workers, find out which one a replay into an empty " +
		"-data-dir agrees with (worker inspect -file FILE -digest), move the other one's file away, and resume; report it if the builds are the same and the machines are sound"
)

// compare asks the owner when it is time to.
func (a *actor) compare(now time.Time) {
	c := &a.comparer
	if a.State() != Following || c.asking || now.Before(c.again) {
		return
	}
	c.asking, c.again = true, now.Add(a.cfg.DigestEvery)
	pace := float64(a.last.seq-min(c.lastSeq, a.last.seq)) * float64(compareAhead) / float64(a.cfg.DigestEvery)
	c.lastSeq, c.cut, c.own, c.theirs = a.last.seq, a.last.seq+1+uint64(pace), digestAt{}, digestAt{}
	req := statequery.Request{Status: &statequery.StatusOf{Digest: true}, WaitSeq: c.cut, WaitMillis: compareWait.Milliseconds()}
	a.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, compareWait+a.cfg.BrokerTimeout)
		defer cancel()
		reply, err := c.client.Ask(ctx, a.cfg.Partition, req)
		if err != nil {
			c.answers <- digestAt{err: err}
			return
		}
		c.answers <- digestAt{seq: reply.Applied, digest: reply.Status.Digest}
	})
}

// compared takes the owner's answer.
func (a *actor) compared(theirs digestAt) {
	c := &a.comparer
	c.asking, c.theirs = false, theirs
	switch {
	case theirs.err != nil:
		a.missed("cause", theirs.err)
	case theirs.seq == c.own.seq:
		a.match(c.own, theirs)
	case theirs.seq < a.last.seq:
		a.missed("owner", theirs.seq, "here", a.last.seq)
	default:
		a.digestHere()
	}
}

// missed notes that there was nothing to compare.
func (a *actor) missed(why ...any) {
	a.comparer.theirs = digestAt{}
	a.log.Debug("digests were not compared", why...)
	a.deps.Metrics.comparisons.WithLabelValues(a.label(), digestsMissed).Inc()
}

// digestHere takes the own digest where it is wanted; called after each message.
func (a *actor) digestHere() {
	c := &a.comparer
	if seq := a.last.seq; seq != c.cut && seq != c.theirs.seq || a.State() != Following {
		return
	}
	digest, err := a.store.Digest(a.machine.Head())
	if err != nil {
		a.log.Warn("digest was not taken", "cause", err)
		return
	}
	c.own = digestAt{seq: a.last.seq, digest: fmt.Sprintf("%016x", digest)}
	if c.theirs.seq == c.own.seq {
		a.match(c.own, c.theirs)
	}
}

// match compares the two.
func (a *actor) match(own, theirs digestAt) {
	a.comparer.theirs = digestAt{}
	if own.digest == theirs.digest {
		a.deps.Metrics.comparisons.WithLabelValues(a.label(), digestsEqual).Inc()
		a.view.update(func(f *facts) { f.digestErr = nil })
		return
	}
	err := fmt.Errorf("state differs from the owner's: digest at %d is %s here and %s there; to do: %s", own.seq, own.digest, theirs.digest, digestDiffer)
	a.deps.Metrics.comparisons.WithLabelValues(a.label(), digestsDifferent).Inc()
	a.view.update(func(f *facts) { f.digestErr = err })
	a.log.Error("digests of owner and standby differ", "seq", own.seq, "here", own.digest, "owner", theirs.digest, "do", digestDiffer)
}

// compareDue is when to ask without being called; zero = not by itself.
func (a *actor) compareDue() time.Time {
	if a.State() != Following || a.comparer.asking {
		return time.Time{}
	}
	return a.comparer.again
}
