package auth

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	cached, verified prometheus.Counter
	refused          prometheus.Counter
	reasons          map[reason]prometheus.Counter
	broken, keys     prometheus.Gauge
	ends             *ends
	all              []prometheus.Collector
}

// newMetrics makes them; age is that of the keys in force, in seconds.
func newMetrics(age func() float64) metrics {
	tokens := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "triggerd_ingress_tokens_total",
		Help: "Tokens judged: cached (verified lately), verified, refused. Bad if refused rises for callers that are known: see tokens_refused and keys_broken.",
	}, []string{"result"})
	refusals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "triggerd_ingress_tokens_refused_total",
		Help: "Tokens refused, by reason. Bad for known callers: expired, not_yet_valid (clocks), unknown_key (rotation, see keys_age_seconds), revoked. The others are mistakes or attacks.",
	}, []string{"reason"})
	m := metrics{
		cached:   tokens.WithLabelValues("cached"),
		verified: tokens.WithLabelValues("verified"),
		refused:  tokens.WithLabelValues("refused"),
		reasons:  map[reason]prometheus.Counter{},
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "triggerd_ingress_keys_broken",
			Help: "1 while the newest keys cannot be had or used and those before them are in force. Bad: keys that were taken away still count; the log and /readyz?verbose say why.",
		}),
		keys: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "triggerd_ingress_keys",
			Help: "Keys in force, those of token issuers. 2 or more while they are being rotated.",
		}),
	}
	m.ends = &ends{}
	for _, r := range reasons {
		m.reasons[r] = refusals.WithLabelValues(string(r))
	}
	m.all = []prometheus.Collector{tokens, refusals, m.broken, m.keys, m.ends, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "triggerd_ingress_keys_age_seconds",
		Help: "Time since the keys in force were last found to be the newest. Bad over some times the interval of reloading: a key that was taken away still counts; see keys_broken.",
	}, age)}
	return m
}

func (m *metrics) passed(cached bool) {
	if cached {
		m.cached.Inc()
	} else {
		m.verified.Inc()
	}
}

// register adds them to r; a nil r leaves them unregistered.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}
