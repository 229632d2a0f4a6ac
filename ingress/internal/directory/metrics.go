package directory

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	reads    *prometheus.CounterVec
	lists    prometheus.Counter
	failures prometheus.Counter
	all      []prometheus.Collector
}

func newMetrics(r *replica) *metrics {
	m := &metrics{
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "triggerd_ingress_modules_reads_total",
			Help: "Reads of an account's modules from the bucket's leader, by result (ok, error). Bad if error rises: triggers that name modules not known here yet are answered 503.",
		}, []string{"result"}),
		lists: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_modules_lists_total", Help: "Complete lists of the modules bucket.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_modules_watch_failures_total", Help: "Watches of the modules bucket that failed. Bad if it keeps rising: see modules_list_age_seconds and the log.",
		}),
	}
	m.all = []prometheus.Collector{m.reads, m.lists, m.failures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "triggerd_ingress_modules_list_age_seconds", Help: "Time since the modules bucket was last listed completely. Bad over ten minutes: what was declared lately may be unknown here; see watch_failures.",
		}, r.age),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "triggerd_ingress_modules_accounts", Help: "Accounts in the local copy of the modules bucket.",
		}, r.size),
	}
	m.reads.WithLabelValues("ok")
	m.reads.WithLabelValues("error")
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
