package revocation

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lists    prometheus.Counter
	failures prometheus.Counter
	all      []prometheus.Collector
}

func newMetrics(s *Set) *metrics {
	m := &metrics{
		lists: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_revocations_lists_total", Help: "Complete lists of the bucket of revoked tokens.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_revocations_watch_failures_total", Help: "Watches of the bucket of revoked tokens that failed. Bad if it keeps rising: see revocations_list_age_seconds and the log.",
		}),
	}
	m.all = []prometheus.Collector{m.lists, m.failures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "triggerd_ingress_revocations_list_age_seconds", Help: "Time since the bucket of revoked tokens was last listed completely. Bad over some minutes: tokens revoked since then may still pass here.",
		}, s.age),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "triggerd_ingress_revocations", Help: "Revoked tokens known here. Bad near 100000, where the bucket refuses another: revoke with an end, or take the key away that signed them.",
		}, func() float64 { return float64(s.known.size()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "triggerd_ingress_revocations_surplus", Help: "Revoked tokens of the last list for which there was no room here, and which still pass. Bad over 0: somebody widened the bucket.",
		}, func() float64 { return float64(s.known.tooMany()) }),
	}
	return m
}

func (m *metrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}
