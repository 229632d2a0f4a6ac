package appender

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// cause says why a call was refused.
type cause string

const (
	causeAway      cause = "broker_away"
	causeCanceled  cause = "canceled"
	causeDraining  cause = "draining"
	causeQueueFull cause = "queue_full"
	causeRefused   cause = "log_refused"
	causeShare     cause = "account_share"
	causeTimeout   cause = "timeout"
)

var causes = []cause{causeAway, causeCanceled, causeDraining, causeQueueFull, causeRefused, causeShare, causeTimeout}

// metrics of an appender. Slices are by partition.
type metrics struct {
	batchRecords, batchBytes, duration prometheus.Observer

	queue             []prometheus.Gauge
	repeats, unknown  []prometheus.Counter
	stored, reversals []prometheus.Counter
	refusals          []map[cause]prometheus.Counter
}

// newMetrics makes the metrics and registers them, if there is somebody to register with.
func newMetrics(reg prometheus.Registerer, partitions int) *metrics {
	histogram := func(what, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(telemetry.Histogram("triggerd_ingress_append_"+what, help, buckets))
	}
	counter := func(what, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "triggerd_ingress_append_" + what, Help: help}, labels)
	}
	records := histogram("batch_records", "Records in a batch when it is first sent. Grows with load, up to 1000.", prometheus.ExponentialBuckets(1, 2, 11))
	bytes := histogram("batch_bytes", "Payload of a batch when it is first sent, in bytes, up to 256 KiB unless it is one large record.", prometheus.ExponentialBuckets(128, 2, 14))
	duration := histogram("duration_seconds", "Time from a call to its acknowledgement (synced to disk), of calls that succeeded. Bad near -append-timeout: the broker's disks are slow or full of other work.",
		prometheus.ExponentialBuckets(0.00025, 2, 13))
	queue := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "triggerd_ingress_append_queue_records", Help: "Records that wait to be sent. Bad if it stays near -queue-records: the log takes less than comes in, and more is refused.",
	}, []string{"partition"})
	repeats := counter("repeated_batches_total", "Batches sent again because their fate was unknown. Some when a server goes away; bad if it keeps rising: see logs in /readyz?verbose.", "partition")
	unknown := counter("unknown_records_total", "Records sent but not confirmed in their callers' time: each was answered 503 unknown_outcome with a receipt, and may be stored. Bad if it keeps rising: the broker is slow or elects.", "partition")
	stored := counter("stored_records_total", "Records that the log has acknowledged, late for their callers or not. Over all ingresses they are what the log holds, ticks and limits aside.", "partition")
	reversals := counter("reversals_total", "Acknowledgements that name a place at or before one that was acknowledged earlier. Bad above 0: the log has lost what was acknowledged in between; see ingress's log, and worker inspect.", "partition")
	refusals := counter("refused_records_total", "Records not stored, by cause; each was answered 503. Bad for broker_away and log_refused (see logs in /readyz?verbose) queue_full (too much load); account_share is one account that sends too much.", "partition", "cause")
	if reg != nil {
		reg.MustRegister(records, bytes, duration, queue, repeats, unknown, stored, reversals, refusals)
	}
	m := &metrics{batchRecords: records, batchBytes: bytes, duration: duration}
	for p := range partitions {
		label := strconv.Itoa(p)
		m.queue = append(m.queue, queue.WithLabelValues(label))
		m.repeats = append(m.repeats, repeats.WithLabelValues(label))
		m.unknown = append(m.unknown, unknown.WithLabelValues(label))
		m.stored = append(m.stored, stored.WithLabelValues(label))
		m.reversals = append(m.reversals, reversals.WithLabelValues(label))
		m.refusals = append(m.refusals, map[cause]prometheus.Counter{})
		for _, c := range causes {
			m.refusals[p][c] = refusals.WithLabelValues(label, string(c))
		}
	}
	return m
}

// refuse counts a refused call and makes its error.
func (m *metrics) refuse(p int, c cause, why error) error {
	m.refused(p, c, 1)
	return fmt.Errorf("%w: %w", ErrUnavailable, why)
}

func (m *metrics) refused(p int, c cause, n int) { m.refusals[p][c].Add(float64(n)) }
