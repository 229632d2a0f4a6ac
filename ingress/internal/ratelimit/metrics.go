package ratelimit

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	refused   prometheus.Counter
	untracked prometheus.Counter
	failures  prometheus.Counter
	listedAt  atomic.Int64 // Unix nanoseconds; of the start before the first list
	all       []prometheus.Collector
}

func newMetrics(count func() (own, counted int)) *metrics {
	m := &metrics{
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_rate_limited_total", Help: "Triggers, items of batches among them, that were refused with 429 because their account was over its limit. The log names an account.",
		}),
		untracked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_rate_untracked_total", Help: "Triggers that passed although their account has a limit, because as many accounts as there may be were counted already. Bad if it rises: raise -rate-accounts.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_rate_watch_failures_total", Help: "Watches of the limits bucket that failed. Bad if it keeps rising: see rate_list_age_seconds and the log.",
		}),
	}
	m.listed(time.Now())
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	m.all = []prometheus.Collector{m.refused, m.untracked, m.failures,
		gauge("triggerd_ingress_rate_overrides", "Accounts with a limit of their own.", func() float64 { own, _ := count(); return float64(own) }),
		gauge("triggerd_ingress_rate_accounts", "Accounts that are counted at this moment: those that have sent something and have not got all their triggers back.",
			func() float64 { _, counted := count(); return float64(counted) }),
		gauge("triggerd_ingress_rate_list_age_seconds", "Time since the limits bucket was last listed completely. Bad over ten minutes: limits that were changed lately may be unknown here; see rate_watch_failures.",
			func() float64 { return time.Since(time.Unix(0, m.listedAt.Load())).Seconds() }),
	}
	return m
}

func (m *metrics) listed(now time.Time) { m.listedAt.Store(now.UnixNano()) }

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
