package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// Metrics are those of a process's snapshots. Safe for concurrent use.
type Metrics struct {
	makeSeconds, restoreSeconds *prometheus.HistogramVec
	failures, restoreFailures   *prometheus.CounterVec
	restoredBytes               *prometheus.CounterVec
}

// NewMetrics registers with reg; nil leaves them unregistered but working.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "triggerd_worker_" + name, Help: help}, append([]string{"partition"}, labels...))
	}
	seconds := func(name, help string) *prometheus.HistogramVec {
		return f.NewHistogramVec(telemetry.Histogram("triggerd_worker_"+name, help, prometheus.ExponentialBuckets(0.01, 2, 16)), []string{"partition"})
	}
	return &Metrics{
		makeSeconds:     seconds("snapshot_duration_seconds", "Time to make a snapshot, throttled. Bad near -snapshot-every: give it more with -snapshot-rate."),
		restoreSeconds:  seconds("restore_duration_seconds", "Time to restore a partition's file from a snapshot: what a worker without its files takes before it replays."),
		failures:        counter("snapshot_failures_total", "Snapshots that came to nothing, and tidying up and trimming that failed, by step. Bad if it keeps rising: the log is not trimmed and fills; see the log, and the room in OBJ_SNAPSHOT-DATA.", "step"),
		restoreFailures: counter("restore_failures_total", "Restores that came to nothing: the snapshot is damaged, or could not be read or written. Bad if damaged: the other one is taken, and the store's disks want a look.", "reason"),
		restoredBytes:   counter("restored_bytes_total", "Bytes of files restored from snapshots, decompressed. Rises when a worker comes without its files."),
	}
}

// Reasons of restore_failures_total.
const (
	reasonDamaged = "damaged"
	reasonOther   = "unavailable"
)

// attach shows a partition's counters as zero.
func (m *Metrics) attach(p string) {
	for _, step := range Steps() {
		m.failures.WithLabelValues(p, step)
	}
	m.restoreFailures.WithLabelValues(p, reasonDamaged)
	m.restoreFailures.WithLabelValues(p, reasonOther)
	m.restoredBytes.WithLabelValues(p)
}

func (m *Metrics) failed(p, step string) { m.failures.WithLabelValues(p, step).Inc() }

// made counts how a Make ended. Being told to stop, or that there is nothing to do, is no failure.
func (m *Metrics) made(p string, d time.Duration, err error) {
	var at *StepError
	switch {
	case err == nil:
		m.makeSeconds.WithLabelValues(p).Observe(d.Seconds())
	case NoFault(err):
	case errors.As(err, &at):
		m.failed(p, at.Step)
	}
}

// NoFault says whether a Make ended without a snapshot for a reason that is none for concern.
func NoFault(err error) bool {
	return errors.Is(err, ErrNothingNew) || errors.Is(err, ErrRaced) || errors.Is(err, context.Canceled) || errors.Is(err, store.ErrEmpty)
}

func (m *Metrics) restored(p string, d time.Duration, bytes int64, err error) {
	switch {
	case err == nil:
		m.restoreSeconds.WithLabelValues(p).Observe(d.Seconds())
		m.restoredBytes.WithLabelValues(p).Add(float64(bytes))
	case errors.Is(err, ErrDamaged):
		m.restoreFailures.WithLabelValues(p, reasonDamaged).Inc()
	case !errors.Is(err, context.Canceled):
		m.restoreFailures.WithLabelValues(p, reasonOther).Inc()
	}
}
