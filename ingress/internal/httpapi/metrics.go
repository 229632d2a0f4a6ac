package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
	"github.com/triggerd/triggerd/shared/telemetry"
)

type metrics struct {
	requests   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	accepted   prometheus.Counter
	unverified prometheus.Counter
	items      *prometheus.CounterVec // of batches, by status
	overloads  *prometheus.CounterVec // by limit
	keys       [keyResults]prometheus.Counter
	triggers   *prometheus.CounterVec // by the class of their account, and answer
	taken      [ratelimit.Classes]prometheus.Counter
	repeated   [ratelimit.Classes]prometheus.Counter
}

// Answers beside the words of failures.
const (
	answerAccepted = "accepted"
	answerRepeated = "repeated"
)

// secondsBuckets begin below one fsync of a fast disk and end at the longest wait.
var secondsBuckets = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

const triggersHelp = "Triggers with a good token, items of batches among them, by the class of their account (unlimited, usual: -rate-limit, own: ingress limit) and answer: accepted, repeated (accepted before under its idempotency key), or the code of the refusal. A batch that is refused as a whole counts once. Bad for unavailable, unknown_outcome and internal; rate_limited says that accounts of a class send more than they may."

// newMetrics registers them, and more that others have made, with reg; a nil reg leaves them unregistered.
func newMetrics(reg prometheus.Registerer, more ...prometheus.Collector) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "triggerd_ingress_requests_total", Help: "Requests answered, by route and status code. Bad for 5xx: request failed in the log says why.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(telemetry.Histogram("triggerd_ingress_request_seconds",
			"Time from a request's headers to its answer.", secondsBuckets), []string{"route"}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_accepted_total", Help: "Triggers that were accepted: durable in the log.",
		}),
		unverified: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "triggerd_ingress_unverified_accepts_total", Help: "Triggers that were accepted while nobody could say whether their user exists; unknown ones are rejected when they are applied. Bad if it keeps rising: workers are away or slow.",
		}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "triggerd_ingress_batch_items_total", Help: "Items of batches by their own status code: the request's is 200 if its items could be read.",
		}, []string{"code"}),
		overloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "triggerd_ingress_overloads_total", Help: "Requests (and connections) answered 503 because a limit was reached: requests, body_bytes, batches, imports, turns, connections; deploy/LIMITS.md has their flags. Bad if it keeps rising: too much comes, or the log is slow.",
		}, []string{"limit"}),
		triggers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "triggerd_ingress_triggers_total", Help: triggersHelp,
		}, []string{"class", "answer"}),
	}
	for c := range ratelimit.Classes {
		m.taken[c] = m.triggers.WithLabelValues(c.String(), answerAccepted)
		m.repeated[c] = m.triggers.WithLabelValues(c.String(), answerRepeated)
		for _, ours := range []code{rateLimited, unavailable, unknownOutcome, internal} {
			m.triggers.WithLabelValues(c.String(), codes[ours].word) // shown before there is one: rates and ratios need the 0
		}
	}
	keys := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "triggerd_ingress_idempotency_keys_total",
		Help: "Triggers with an idempotency key by what was known of it: new, replayed, mismatch (422), no_room (429), unverified (accepted, the machine judges). Bad if no_room rises: see triggerd_worker_idempotency_keys; or unverified: workers are away or slow.",
	}, []string{"result"})
	for result, name := range keyResultNames {
		m.keys[result] = keys.WithLabelValues(name)
	}
	if reg == nil {
		return m, nil
	}
	more = append(more, keys)
	for _, c := range append([]prometheus.Collector{m.requests, m.seconds, m.accepted, m.unverified, m.items, m.overloads, m.triggers}, more...) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// gauges show how much there is of what is bounded.
func (a *API) gauges() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	return []prometheus.Collector{
		gauge("triggerd_ingress_connections", "Open connections. At most -max-connections.", func() float64 { return float64(a.open.Load()) }),
		gauge("triggerd_ingress_requests_in_hand", "Requests for triggers that are not answered yet. At most -max-requests, of which an account may have as many as are left.",
			func() float64 { return a.places.out(int64(a.cfg.MaxRequests)) }),
		gauge("triggerd_ingress_requests_waiting", "Requests for triggers that wait for their account's turn (-turns), of those in hand. Bad if it stays high: an account floods, and its answers take longer for it.",
			a.turns.inLine),
		gauge("triggerd_ingress_turns", "Requests for triggers, or KiB of them if they are longer, that one account may have at work at once in any case while others send (-turns), 0: no bound. It rises with the time that the log takes, if it is not set.", a.turns.size),
		gauge("triggerd_ingress_body_bytes", "Bytes of bodies in memory, beside the first 4 KiB of each. At most -max-body-bytes, of which an account may have as many as are left.",
			func() float64 { return a.bodies.out(a.cfg.MaxBodyBytes) }),
	}
}

// accept counts an accepted trigger.
func (m *metrics) accept(v admission.Verdict) {
	m.accepted.Inc()
	if v == admission.Unverified {
		m.unverified.Inc()
	}
}

// take counts a trigger that is safe, by the class of its account.
func (m *metrics) take(class ratelimit.Class, done accepted) {
	if done.replayed {
		m.repeated[class].Inc()
		return
	}
	m.taken[class].Inc()
}

// refuse counts one that is not.
func (m *metrics) refuse(class ratelimit.Class, c code) {
	m.triggers.WithLabelValues(class.String(), codes[c].word).Inc()
}

// unrouted counts an answer to what no route takes. Paths are the callers' invention, so none becomes a label.
func (m *metrics) unrouted(status int) {
	m.requests.WithLabelValues("none", strconv.Itoa(status)).Inc()
}

// routeMetrics are those of one route, looked up once.
type routeMetrics struct {
	route   string
	vec     *prometheus.CounterVec
	ok      prometheus.Counter // the usual code, without a look-up
	seconds prometheus.Observer
}

func (m *metrics) route(path string) *routeMetrics {
	return &routeMetrics{
		route: path, vec: m.requests, seconds: m.seconds.WithLabelValues(path),
		ok: m.requests.WithLabelValues(path, strconv.Itoa(http.StatusOK)),
	}
}

func (r *routeMetrics) observe(status int, took time.Duration) {
	r.seconds.Observe(took.Seconds())
	if status == http.StatusOK {
		r.ok.Inc()
		return
	}
	r.vec.WithLabelValues(r.route, strconv.Itoa(status)).Inc()
}
