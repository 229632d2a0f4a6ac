package admission

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// result is a verdict with its reason, the label of the checks metric.
type result uint8

const (
	unsure    result = iota // quick: not known, but that is not final; never a caller's verdict
	known                   // the owner says so
	unknown                 // the owner says so
	silent                  // nobody there, or no answer in time
	behind                  // the owner could not apply far enough in time
	skipped                 // the breaker is open
	full                    // too many wait already
	cancelled               // the caller's context ended
	invalid                 // not a question that can be asked
	results
)

var resultNames = [results]string{"unsure", "known", "unknown", "silent", "behind", "skipped", "full", "cancelled", "invalid"}

func (r result) verdict() Verdict {
	switch r {
	case known:
		return Known
	case unknown:
		return Unknown
	}
	return Unverified
}

type metrics struct {
	checks   [results]prometheus.Counter
	duration prometheus.Histogram
	users    prometheus.Histogram
	all      []prometheus.Collector
}

func newMetrics(a *Admission) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogram(telemetry.Histogram("triggerd_ingress_check_duration_seconds",
			"Time until a partition's owner answered a check request, or was given up. Bad near -check-timeout: owners are away or slow, and requests wait for them.",
			[]float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 2})),
		users: prometheus.NewHistogram(telemetry.Histogram("triggerd_ingress_check_users",
			"Users asked for in one check request.", []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000})),
	}
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "triggerd_ingress_checks_total",
		Help: "Users that were not in the cache, by what asking for them gave; all but known and unknown are unverified. Bad if silent, behind or skipped rise: the partition's worker is away or slow.",
	}, []string{"result"})
	for r := known; r < results; r++ {
		m.checks[r] = checks.WithLabelValues(resultNames[r])
	}
	m.all = []prometheus.Collector{m.duration, m.users, checks}
	m.addCache(a.cache)
	for _, pt := range a.partitions {
		m.addBreaker(pt)
	}
	return m
}

func (m *metrics) addCache(c *cache) {
	m.all = append(m.all,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "triggerd_ingress_known_users_hits_total", Help: "Users found in the cache of known users.",
		}, func() float64 { return c.count(func(s *shard) uint64 { return s.hits.Load() }) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "triggerd_ingress_known_users_misses_total", Help: "Users not found in the cache of known users; each is asked for.",
		}, func() float64 { return c.count(func(s *shard) uint64 { return s.misses.Load() }) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "triggerd_ingress_known_users", Help: "Users in the cache of known users, expired ones included; at most -cache-users.",
		}, func() float64 { return c.count((*shard).entries) }))
}

// addBreaker shows the breaker as it is when scraped: it closes by the passing of time, which nobody would report.
func (m *metrics) addBreaker(pt *partition) {
	m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "triggerd_ingress_check_breaker_open",
		Help:        "1 while a partition's owner is not asked because it was silent. Bad for minutes: nobody serves the partition; see worker inspect. Triggers are accepted all the same.",
		ConstLabels: prometheus.Labels{"partition": strconv.Itoa(pt.p)},
	}, pt.broken))
}

func (m *metrics) asked(users int, took time.Duration) {
	m.users.Observe(float64(users))
	m.duration.Observe(took.Seconds())
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
