package worker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// metrics are the worker's own; those of the partitions are package partition's.
type metrics struct {
	moves  *prometheus.CounterVec   // by direction, cause
	stalls *prometheus.HistogramVec // by cause
}

// newMetrics registers with reg; nil leaves them unregistered but working. count counts what runs here now.
func newMetrics(reg prometheus.Registerer, count func(func(*held) bool) float64) metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "triggerd_worker_owned_partitions", Help: "Partitions that this worker serves. The sum over all workers is -partitions; bad if it is less for longer than a takeover (seconds): see /members."},
		func() float64 { return count((*held).Serving) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "triggerd_worker_standby_partitions", Help: "Partitions that this worker follows, caught up, to take over at once. With two workers or more the sum is -partitions unless -standby 0; bad if less for minutes."},
		func() float64 { return count((*held).standsBy) })
	return metrics{
		moves: f.NewCounterVec(prometheus.CounterOpts{Name: "triggerd_worker_moves_total",
			Help: "Partitions that this worker began to serve (in) or gave up (out), by cause. Bad if it rises while nobody starts or stops workers: cause expired is a worker that was not heard of, frozen or cut off: see its log."}, []string{"direction", "cause"}),
		stalls: f.NewHistogramVec(telemetry.Histogram("triggerd_worker_move_stall_seconds",
			"For how long nobody served a partition that this worker began to serve, from when its former owner was last heard of; 0 if that one still served it. Bad over -member-ttl and some seconds."+
				" Triggers were accepted meanwhile.",
			prometheus.ExponentialBuckets(0.01, 2, 14)), []string{"cause"}),
	}
}

// standsBy says whether the partition follows, caught up.
func (h *held) standsBy() bool { return !h.Leading() && h.State() == partition.Following }

// count counts what runs here.
func (w *Worker) count(is func(*held) bool) (n float64) {
	for _, h := range w.all() {
		if is(h) {
			n++
		}
	}
	return n
}
