package auth

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// What may end, as the metric's label says.
const (
	endOfKey    = "key"
	endOfServer = "server"
)

// ends shows when the means of verifying tokens end. An exp of a key is its issuer's word to people: here a key counts for as long as it is in the set.
type ends struct {
	mu sync.Mutex
	at map[string]float64 // Unix time
}

var descEnds = prometheus.NewDesc("triggerd_ingress_keys_expiry_timestamp_seconds",
	"When it ends: key (the earliest exp in the JWKS; most have none), server (the certificate of the server of -keys-url, as it showed it last). Unix time; missing for what has no end. "+
		"Bad within weeks of now: see that its issuer has another one.",
	[]string{"whose"}, nil)

// set notes an end; 0: there is none.
func (e *ends) set(whose string, at float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at == 0 {
		delete(e.at, whose)
		return
	}
	if e.at == nil {
		e.at = make(map[string]float64)
	}
	e.at[whose] = at
}

// Describe implements prometheus.Collector.
func (e *ends) Describe(ch chan<- *prometheus.Desc) { ch <- descEnds }

// Collect implements prometheus.Collector.
func (e *ends) Collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for whose, at := range e.at {
		ch <- prometheus.MustNewConstMetric(descEnds, prometheus.GaugeValue, at, whose)
	}
}
