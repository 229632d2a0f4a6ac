package worker

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/triggerd/triggerd/worker/internal/partition"
)

// Causes of moves, besides those of the members.
const (
	causeStart    = "start"
	causeStopping = "stopping"
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

	cause     string    // of the last move
	since     time.Time // when it was started
	released  time.Time // when it fell to another worker; zero: it has not
	releaseBy time.Time // when waiting for that one ends
	served    bool
	stopped   bool // it was told to drain
}

// keep takes a release back.
func (h *held) keep() {
	h.SetOwner(true)
	h.released, h.releaseBy = time.Time{}, time.Time{}
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
	cause := h.cause
	if cause == "" {
		cause = causeStart
	}
	s.moves.WithLabelValues(direction, cause).Inc()
	attrs := []any{"partition", p, "direction", direction, "cause", cause, "duration", s.deps.Now().Sub(since)}
	if !in && s.owners != nil && s.owners[p] != s.id() {
		attrs = append(attrs, "to", s.owners[p])
	}
	s.deps.Logger.Info("partition moved", attrs...)
}

func newMoves(reg prometheus.Registerer) *prometheus.CounterVec {
	return promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Name: "triggerd_worker_moves_total",
		Help: "Partitions that this worker began to serve (in) or gave up (out), by cause."}, []string{"direction", "cause"})
}
