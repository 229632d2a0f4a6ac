package loadgen

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Resolution of the histograms: microseconds up to ten minutes, two digits.
const (
	histogramMin    = 1
	histogramMax    = 600_000_000
	histogramDigits = 2
)

// latencyShards is how many connections at once can note something without waiting for each other.
const latencyShards = 8

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(histogramMin, histogramMax, histogramDigits)
}

// latencies counts durations by class. Safe for concurrent use; what is noted at once should have different shards.
type latencies [latencyShards]struct {
	mu  sync.Mutex
	of  map[string]*hdrhistogram.Histogram
	pad [40]byte // to have cache lines of their own
}

func (l *latencies) note(shard int, class string, d time.Duration) {
	s := &l[shard%latencyShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.of[class]
	if h == nil {
		if s.of == nil {
			s.of = map[string]*hdrhistogram.Histogram{}
		}
		h = newHistogram()
		s.of[class] = h
	}
	_ = h.RecordValue(min(histogramMax, max(histogramMin, d.Microseconds()))) // is in range
}

// merged is a copy of everything so far, by class.
func (l *latencies) merged() map[string]*hdrhistogram.Histogram {
	all := map[string]*hdrhistogram.Histogram{}
	for i := range l {
		s := &l[i]
		s.mu.Lock()
		for class, h := range s.of {
			if all[class] == nil {
				all[class] = newHistogram()
			}
			all[class].Merge(h)
		}
		s.mu.Unlock()
	}
	return all
}
