package partition

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descSnapshots    = gauge("snapshots", "Snapshots that are kept of the partition, as its owner knows. Two after a while; bad at 0 for hours: see snapshot_failures_total.")
	descSnapAge      = gauge("snapshot_age_seconds", "Age of the newest snapshot. Missing if there is none. Grows while nothing is applied; bad if over two of -snapshot-every while the log grows.")
	descSnapPosition = gauge("snapshot_position", "Sequence of the last message that the newest snapshot reflects.")
	descSnapBytes    = gauge("snapshot_file_bytes", "Size of the file of which the newest snapshot was made.")
	descSnapPacked   = gauge("snapshot_compressed_bytes", "Size of the newest snapshot in the object store.")
	descTrimmed      = gauge("trimmed_position", "First sequence that trimming left in the log. Missing until this process has trimmed.")
)

func describeSnapshots(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSnapshots, descSnapAge, descSnapPosition, descSnapBytes, descSnapPacked, descTrimmed} {
		ch <- d
	}
}

// sendSnapshots shows what the keeper knows.
func (f *facts) sendSnapshots(now time.Time, send func(*prometheus.Desc, float64, ...string)) {
	send(descSnapshots, float64(f.snapshots))
	if f.snapshots > 0 {
		send(descSnapAge, f.snapshotAge(now).Seconds())
		send(descSnapPosition, float64(f.snapshot.Seq))
		send(descSnapBytes, float64(f.snapshot.Bytes))
		send(descSnapPacked, float64(f.snapshot.CompressedBytes))
	}
	if f.trimmed > 0 {
		send(descTrimmed, float64(f.trimmed))
	}
}

// snapshotAge is that of the newest one; 0 without any.
func (f *facts) snapshotAge(now time.Time) time.Duration {
	if f.snapshots == 0 {
		return 0
	}
	return max(0, now.Sub(f.snapshot.MadeAt))
}
