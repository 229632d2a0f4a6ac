package membership

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	members  prometheus.GaugeFunc
	failures prometheus.Counter
}

// newMetrics registers with reg; nil leaves them unregistered but working. members counts at every scrape: the set becomes
// known when the own key is stored, and shrinks when a key expires, which are not the moments at which anybody is told.
func newMetrics(reg prometheus.Registerer, members func() float64) *metrics {
	f := promauto.With(reg)
	return &metrics{
		members:  f.NewGaugeFunc(prometheus.GaugeOpts{Name: "triggerd_worker_members", Help: "Live workers that this one knows of, itself included. Bad if workers differ about it for longer than -member-ttl: see /members of each."}, members),
		failures: f.NewCounter(prometheus.CounterOpts{Name: "triggerd_worker_member_renew_failures_total", Help: "Renewals of this worker's key that failed. Bad if it rises for longer than -member-ttl: others then take its partitions over; see broker in /readyz?verbose."}),
	}
}
