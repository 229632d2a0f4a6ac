package bench

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// readings is what a worker's metrics say at one time.
type readings struct {
	at         time.Time
	applied    float64 // triggers
	committing time.Duration
	oldest     time.Duration     // age of the oldest record that is not applied, of any partition
	packed     float64           // bytes of the newest snapshots
	positions  map[string]uint64 // applied, by partition
	shelved    map[string]uint64 // positions of the newest snapshots
}

func (s *stages) readings() readings { return gather(s.worker.metrics) }

// gather reads. A metric that is not there reads 0.
func gather(from prometheus.Gatherer) readings {
	r := readings{at: time.Now(), positions: map[string]uint64{}, shelved: map[string]uint64{}}
	families, _ := from.Gather() // an error leaves the rest
	for _, family := range families {
		for _, m := range family.GetMetric() {
			r.read(family.GetName(), m)
		}
	}
	return r
}

func (r *readings) read(name string, m *dto.Metric) {
	switch name {
	case "triggerd_worker_applied_total":
		r.applied += m.GetCounter().GetValue()
	case "triggerd_worker_checkpoint_duration_seconds":
		r.committing += time.Duration(m.GetHistogram().GetSampleSum() * float64(time.Second))
	case "triggerd_worker_oldest_unapplied_seconds":
		r.oldest = max(r.oldest, time.Duration(m.GetGauge().GetValue()*float64(time.Second)))
	case "triggerd_worker_snapshot_compressed_bytes":
		r.packed += m.GetGauge().GetValue()
	case "triggerd_worker_applied_position":
		r.positions[partitionOf(m)] = uint64(m.GetGauge().GetValue())
	case "triggerd_worker_snapshot_position":
		r.shelved[partitionOf(m)] = uint64(m.GetGauge().GetValue())
	}
}

func partitionOf(m *dto.Metric) string {
	for _, label := range m.GetLabel() {
		if label.GetName() == "partition" {
			return label.GetValue()
		}
	}
	return ""
}

// ends are the last sequences of all logs, by partition.
func (s *stages) ends(ctx context.Context) (map[string]uint64, error) {
	ends := map[string]uint64{}
	for p := range s.broker.Partitions() {
		last, err := s.broker.LastSeq(ctx, p)
		if err != nil {
			return nil, err
		}
		ends[strconv.Itoa(p)] = last
	}
	return ends, nil
}

// reach says whether all positions are at their ends.
func reach(positions, ends map[string]uint64) bool {
	for p, end := range ends {
		if positions[p] < end {
			return false
		}
	}
	return true
}
