package auth

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	cached, verified, refused prometheus.Counter
	broken                    prometheus.Gauge
}

// newMetrics registers with r; a nil r leaves them unregistered.
func newMetrics(r prometheus.Registerer) metrics {
	tokens := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "triggerd_ingress_tokens_total",
		Help: "Tokens judged: cached (verified lately), verified, refused. Bad if refused rises for callers that are known: see keys_broken and their clocks.",
	}, []string{"result"})
	m := metrics{
		cached:   tokens.WithLabelValues("cached"),
		verified: tokens.WithLabelValues("verified"),
		refused:  tokens.WithLabelValues("refused"),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "triggerd_ingress_keys_broken",
			Help: "1 while the newest key file cannot be used and the keys before it are in force. Bad at once: the log says what is wrong with the file.",
		}),
	}
	if r != nil {
		r.MustRegister(tokens, m.broken)
	}
	return m
}
