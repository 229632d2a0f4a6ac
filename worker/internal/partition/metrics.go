package partition

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Metrics are those of all partitions of a process. Safe for concurrent use.
type Metrics struct {
	applied, redirected, rejected, deadLetters, lateCopies *prometheus.CounterVec
	outcomes                                               *prometheus.CounterVec // by status
	conflicts, emitted, commitFailures, ticks              *prometheus.CounterVec
	questions                                              *prometheus.CounterVec // by answer
	comparisons                                            *prometheus.CounterVec // by result
	setAside                                               *prometheus.CounterVec // by reason
	replayed, halts                                        *prometheus.CounterVec
	commitSeconds                                          *prometheus.HistogramVec

	mu      sync.Mutex
	running map[*Partition]struct{}
}

// NewMetrics registers with reg; nil leaves them unregistered but working.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "triggerd_worker_" + name, Help: help}, append([]string{"partition"}, labels...))
	}
	m := &Metrics{
		applied:        counter("applied_total", "Triggers applied; counted when their effect can be read. Bad if flat while triggers are accepted: see lag_records and halted."),
		outcomes:       counter("outcomes_total", "Triggers by what became of them when they were applied, or later when their redirect fired or was cancelled.", "status"),
		redirected:     counter("redirected_total", "Conversations moved to a module, at once or after a delay."),
		rejected:       counter("rejected_total", "Triggers rejected when they were applied, and delayed redirects cancelled. Their senders' matter; outcomes say why."),
		deadLetters:    counter("dead_letters_total", "Records and batches that could not be read or judged. Bad above 0: GET /v1/deadletters of an ingress lists them."),
		lateCopies:     counter("late_copies_total", "Batches skipped because they, or later ones of the same writer, had been applied already. Harmless; many of them say that the broker answers late, or that -duplicate-window is short."),
		conflicts:      counter("emission_conflicts_total", "Messages of events refused because EVENTS had moved on. Some at takeovers are as should be; bad if it rises steadily: two workers serve the partition, see /members."),
		emitted:        counter("events_emitted_total", "Events of this owner known to be in EVENTS."),
		commitFailures: counter("checkpoint_failures_total", "Attempts to write a checkpoint that failed. Bad above 0: the disk is full or broken, or -partition-max-bytes is reached; see the log and checkpoint_age_seconds."),
		ticks:          counter("ticks_total", "Ticks appended to the log, so that delayed redirects fire while it is silent."),
		comparisons:    counter("digest_comparisons_total", "Comparisons of a standby's state with its owner's: equal, missed, or different. Bad if different is not 0: the log says what to do.", "result"),
		setAside:       counter("files_set_aside_total", "Partitions' files that were damaged, or another log's, and were set aside. The partition is made anew by itself; bad for corrupt: look at this machine's disk.", "reason"),
		replayed:       counter("replayed_messages_total", "Messages applied before the partition was caught up after its start, a restore, or being set aside."),
		halts:          counter("halts_total", "Times that the partition stopped rather than guess, also those after which it was tried again."),
		questions:      counter("questions_total", "Questions about state by how they were answered: ok, or the error's word. Bad if overloaded rises: the worker cannot keep up.", "answer"),
		commitSeconds: f.NewHistogramVec(telemetry.Histogram("triggerd_worker_checkpoint_duration_seconds",
			"Time to write a checkpoint, with the rests that it makes unless it is in a hurry. Bad over seconds: the disk is slow, and applying pauses when two are due.", prometheus.ExponentialBuckets(0.001, 2, 14)), []string{"partition"}),
		running: make(map[*Partition]struct{}),
	}
	if reg != nil {
		reg.MustRegister(&gauges{m})
	}
	return m
}

// count adds up what a message did.
func (m *Metrics) count(p string, r *machine.Result) {
	add(m.applied, r.Triggers, p)
	add(m.redirected, r.Redirected, p)
	add(m.rejected, r.Rejected+r.Cancelled, p)
	add(m.deadLetters, r.DeadLetters, p)
	add(m.outcomes, r.Redirected, p, machine.Redirected.String())
	add(m.outcomes, r.Updated, p, machine.Applied.String())
	add(m.outcomes, r.Scheduled, p, machine.Scheduled.String())
	add(m.outcomes, r.Rejected+r.Cancelled, p, machine.Rejected.String())
	add(m.outcomes, r.Duplicates+r.Repeated, p, machine.Duplicate.String())
	if r.SkippedBatch {
		add(m.lateCopies, 1, p)
	}
}

func add(c *prometheus.CounterVec, n int, labels ...string) {
	if n != 0 {
		c.WithLabelValues(labels...).Add(float64(n))
	}
}

// attach shows a partition's gauges from now on, and its counters as zero.
func (m *Metrics) attach(p *Partition) {
	for _, c := range []*prometheus.CounterVec{m.applied, m.redirected, m.rejected, m.deadLetters, m.lateCopies, m.conflicts, m.emitted,
		m.commitFailures, m.ticks, m.replayed, m.halts} {
		c.WithLabelValues(p.label())
	}
	for _, reason := range []string{asideCorrupt, asideForeign} {
		m.setAside.WithLabelValues(p.label(), reason)
	}
	m.comparisons.WithLabelValues(p.label(), digestsDifferent)
	m.mu.Lock()
	defer m.mu.Unlock()
	for former := range m.running { // a halted one that is started anew
		if former.cfg.Partition == p.cfg.Partition {
			delete(m.running, former)
		}
	}
	m.running[p] = struct{}{}
}

// detach ends that, except for a partition that halted: that must stay visible.
func (m *Metrics) detach(p *Partition) {
	if p.State() == Halted {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, p)
}

func (p *Partition) label() string { return strconv.Itoa(p.cfg.Partition) }

// gauges computes what depends on the moment of the scrape, so that it is right also while a partition is stuck.
type gauges struct{ m *Metrics }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("triggerd_worker_"+name, help, append([]string{"partition"}, labels...), nil)
}

var (
	descLag        = gauge("lag_records", "Records in the log that are not applied: messages, times the records that a message carried lately. Exact at 0. Bad if it grows for minutes: see halted, paused, state, and unacknowledged_events.")
	descStandbyLag = gauge("standby_lag_messages", "Messages in the log that a standby has not applied. Only standbys show it. Bad if it grows: a takeover would take longer.")
	descOldest     = gauge("oldest_unapplied_seconds", "Age of the oldest record in the log that is not applied; 0 when all are. Bad over a minute: users see old state; see the partition in /readyz?verbose.")
	descAge        = gauge("checkpoint_age_seconds", "For how long something applied has not been in a checkpoint; 0 when everything is in one. Bad over a minute: see checkpoint_failures_total and unacknowledged_events.")
	descPosition   = gauge("applied_position", "Sequence of the last message applied. Owner and standby differ by standby_lag_messages.")
	descPending    = gauge("pending_redirects", "Delayed redirects that have not fired.")
	descKeys       = gauge("idempotency_keys", "Idempotency keys that take up the partition's budget. Bad near idempotency_keys_max: new ones are answered 429 key_budget then; none is forgotten early.")
	descKeysMax    = gauge("idempotency_keys_max", "Idempotency keys for which the partition has room (-max-keys of the first start; part of the log).")
	descUnacked    = gauge("unacknowledged_events", "Events derived and not known to be in EVENTS. Bad if it stays high: the broker does not take events, and applying waits for that; see the log.")
	descSkew       = gauge("clock_skew_seconds", "The server's clock minus the writer's at the last message applied. Bad beyond a second either way: a clock is wrong, and delayed redirects fire late.")
	descLogBytes   = gauge("log_bytes", "Size of the partition's log. Bad near log_max_bytes: the log refuses then, and every append is answered 503; see snapshot_age_seconds, since snapshots let go of the log.")
	descLogMax     = gauge("log_max_bytes", "Size at which the partition's log refuses (-triggers-max-bytes).")
	descHalted     = gauge("halted", "1 if the partition has stopped rather than guess. Bad at once: worker inspect, and the log, say why and what to type.")
	descState      = gauge("state", "1 for the state in which the partition is. Bad if no worker shows serving: see worker inspect.", "state")
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLag, descStandbyLag, descOldest, descAge, descPosition, descPending, descKeys, descKeysMax, descUnacked, descSkew, descLogBytes, descLogMax, descHalted, descState} {
		ch <- d
	}
	describeSnapshots(ch)
	describeLedger(ch)
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	for p := range g.m.running {
		p.collect(ch)
	}
}

func (p *Partition) collect(ch chan<- prometheus.Metric) {
	f, now, label := p.view.read(), p.deps.Now(), p.label()
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{label}, labels...)...)
	}
	if !p.Leading() && f.state != Halted {
		send(descStandbyLag, float64(f.lag()))
		return
	}
	send(descHalted, is(f.state == Halted))
	for s := range stateCount {
		send(descState, is(s == f.state), s.String())
	}
	if !p.Leading() {
		return
	}
	send(descLag, f.lagRecords())
	send(descOldest, f.oldest(now).Seconds())
	send(descAge, f.checkpointAge(now).Seconds())
	send(descPosition, float64(f.applied))
	send(descPending, float64(f.pending))
	send(descKeys, float64(f.keys))
	send(descKeysMax, float64(f.keysMax))
	send(descUnacked, float64(f.events-min(f.emitted, f.events)))
	send(descSkew, float64(f.skew)/1000)
	if f.logMax > 0 {
		send(descLogBytes, float64(f.logBytes))
		send(descLogMax, float64(f.logMax))
	}
	f.sendSnapshots(now, send)
	f.sendLedger(ch, label, send)
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
