package worker

import (
	"cmp"
	"context"
	"time"

	"github.com/triggerd/triggerd/worker/internal/partition"
)

// Causes of moves, besides those of the members.
const (
	causeStart    = "start"
	causeStopping = "stopping"
	causePaused   = "paused"
	causeHalted   = "halted"
)

// Directions of moves.
const (
	moveIn  = "in"
	moveOut = "out"
)

// held is a partition that runs here, or has halted. What is not the partition's belongs to the supervisor.
type held struct {
	*partition.Partition
	stop context.CancelFunc

	led      bool      // it was to lead while it ran
	word     uint64    // revision of the operator's last word when it was started
	cause    string    // of the last move
	since    time.Time // when it fell to this worker
	before   string    // whose it was before that; empty: not known
	released time.Time // when it fell to another worker; zero: it has not
	served   bool      // as of the last look
	stopped  bool      // it was told to drain
}

// lead tells the partition its role, if it is another one.
func (h *held) lead(yes bool) {
	switch {
	case yes && !h.Leading():
		h.Lead()
	case !yes && h.Leading():
		h.Follow()
	}
}

func (h *held) settled() bool { return closed(h.Settled()) }
func (h *held) ended() bool   { return closed(h.Ended()) }

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// moved writes the one log line of a move, and counts it. duration: in, from when the partition fell to this worker until it serves;
// out, from when it fell to another one until it is drained.
func (s *supervisor) moved(p int, h *held, in bool) {
	direction, since := moveOut, h.released
	if in {
		direction, since = moveIn, h.since
	}
	cause := cmp.Or(h.cause, causeStart)
	if !in && h.State() == partition.Halted {
		cause = causeHalted
	}
	s.metrics.moves.WithLabelValues(direction, cause).Inc()
	attrs := []any{"partition", p, "direction", direction, "cause", cause}
	if !since.IsZero() { // it did not end by itself
		attrs = append(attrs, "duration", s.deps.Now().Sub(since))
	}
	if stall, known := s.stall(p, h); in && known {
		s.metrics.stalls.WithLabelValues(cause).Observe(stall.Seconds())
		attrs = append(attrs, "from", h.before, "stall", stall)
	}
	if !in && s.owners != nil && s.owners[p] != s.id() {
		attrs = append(attrs, "to", s.owners[p])
	}
	s.deps.Logger.Info("partition moved", attrs...)
}

// stall is for how long nobody has served p when it begins to be served here: since its former owner was last heard of, or not at all if that one
// still serves it. It is not known at the start of a deployment.
func (s *supervisor) stall(p int, h *held) (time.Duration, bool) {
	if h.before == "" || h.before == s.id() {
		return 0, false
	}
	if former, ok := s.view.Find(h.before); ok {
		return 0, former.Serving(p)
	}
	since, ok := s.hold.GoneSince(h.before)
	return max(0, s.deps.Now().Sub(since)), ok
}
