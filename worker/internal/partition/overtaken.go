package partition

import (
	"fmt"
	"time"
)

// overtook is an EVENTS-p that was ahead of what is derived here. It belongs to the actor.
type overtook struct {
	end   place     // of EVENTS-p; number 0: it is not ahead
	seq   uint64    // once this is applied, that must be derived; 0: not known yet
	doubt doubt     // that it never will be
	again time.Time // when to read seq again
}

// doubtful says whether applying has to wait: more of the log would hide that what is in it does not lead to the events that are there.
func (o *overtook) doubtful() bool { return o.doubt.times > 0 && o.seq == 0 }

// checkOvertaken judges an EVENTS-p that was ahead of what is derived here. Another owner may be ahead in the log; but once
// everything is applied that was in the log after those events were seen, they must be derived here too.
func (a *actor) checkOvertaken() error {
	o := &a.overtook
	switch {
	case o.end.number == 0 || o.seq == 0 || a.last.seq < o.seq:
		return nil
	case a.derived >= o.end.number:
		o.doubt.over()
		o.end, o.seq = place{}, 0
		return nil
	}
	f := &foreign{what: fmt.Sprintf("EVENTS holds event %d (message %d), but the log up to %d leads only to event %d", o.end.number, o.end.seq,
		o.seq, a.derived), do: restoreLog + "; if it is another program that writes events, keep it from that"}
	o.seq, o.again = 0, a.deps.Now().Add(maxPause)
	return o.doubt.found(f)
}

// overtakenAgain reads the end of the log if the read that was to tell it failed, or is in doubt.
func (a *actor) overtakenAgain() {
	o, now := &a.overtook, a.deps.Now()
	if o.end.number != 0 && o.seq == 0 && !now.Before(o.again) {
		o.again = now.Add(maxPause)
		a.desk.readBound(nil)
	}
}

// overtakenDue is when to do that without being called; zero = not by itself.
func (a *actor) overtakenDue() time.Time {
	if !a.overtook.doubtful() || a.desk.reading {
		return time.Time{}
	}
	return a.overtook.again
}
