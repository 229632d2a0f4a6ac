package peers

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	failures prometheus.Counter
	all      []prometheus.Collector
}

func newMetrics(count func() float64) *metrics {
	m := &metrics{failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "triggerd_ingress_peer_renew_failures_total",
		Help: "Renewals of this ingress's key that failed. Bad if it rises for longer than -member-ttl: others then let accounts do more than their limits; see broker in /readyz?verbose.",
	})}
	m.all = []prometheus.Collector{m.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "triggerd_ingress_peers",
		Help: "Live ingresses that this one knows of, itself included: accounts' rate limits are divided by it. Bad if ingresses differ about it for longer than two of -member-ttl.",
	}, count)}
	return m
}

func (m *metrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for _, c := range m.all {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
