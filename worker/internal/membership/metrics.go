package membership

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	members  prometheus.Gauge
	failures prometheus.Counter
}

// newMetrics registers with reg; nil leaves them unregistered but working.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		members:  f.NewGauge(prometheus.GaugeOpts{Name: "triggerd_worker_members", Help: "Live workers that this one knows of, itself included."}),
		failures: f.NewCounter(prometheus.CounterOpts{Name: "triggerd_worker_member_renew_failures_total", Help: "Renewals of this worker's key that failed."}),
	}
}
