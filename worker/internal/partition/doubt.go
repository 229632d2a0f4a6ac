package partition

import (
	"fmt"
	"time"
)

// doubt is a fault of identity that may be the broker's for a moment: one that has just started does not know its own streams yet, and a leader that was
// cut off or frozen believes in itself, and in the end of the log that it knows, until it has missed the others for some seconds. So what would
// halt the partition is asked for again and again, and does so only if it is found for Config.HaltAfter. Meanwhile nothing is applied, answered or emitted
// because of it.
//
// It belongs to whoever asks.
type doubt struct {
	p     *Partition
	times int           // that it was found in a row
	last  time.Time     // when it was found last
	held  time.Duration // for how long it was found
}

// Bounds of what a doubt counts.
const (
	// confirmations is how often a fault must be found in a row even if it needs no time.
	confirmations = 3
	// maxDoubtStep is the most that counts between two asks: in a process that was frozen nothing was found meanwhile.
	maxDoubtStep = 2 * maxPause
)

// found notes that a fault was found, once more perhaps, and returns the halt to which that amounts; nil: it may be over soon.
func (d *doubt) found(f *foreign) error {
	now := time.Now() // not the wall clock, which is set
	if d.times++; d.times == 1 {
		d.held = 0
		if !f.trimmed {
			d.p.log.Warn("partition is in doubt about its log and asks again before it halts", "cause", f, "halts_after", d.p.cfg.HaltAfter)
		}
	} else {
		d.held += min(now.Sub(d.last), maxDoubtStep)
	}
	d.last = now
	if d.times < confirmations || !f.trimmed && d.held < d.p.cfg.HaltAfter { // what is trimmed does not come back
		return nil
	}
	return d.p.confirmed(f)
}

// over notes that the fault is not found, and says whether it was.
func (d *doubt) over() bool {
	if d.times == 0 {
		return false
	}
	d.p.log.Info("partition is not in doubt about its log any more", "found", d.times, "for", d.held)
	d.times = 0
	return true
}

// doubted is how a fault is shown while it is in doubt.
func doubted(f *foreign) error { return fmt.Errorf("in doubt, asking again: %w", f) }
