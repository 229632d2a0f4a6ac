package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// sampleEvery is how often the sustained load is looked at.
const sampleEvery = 100 * time.Millisecond

// sample is one look at the process and its worker.
type sample struct {
	oldest time.Duration // age of the oldest record that is not applied
	rss    uint64        // bytes
	heap   uint64        // bytes in use and not collected yet
}

// sustained is what a long load showed.
type sustained struct {
	accepted, applied float64 // a second, within the load
	samples           []sample
	heapBegin         uint64 // after a collection
	heapEnd           uint64
	claim
}

// sustain puts on as much load as is accepted, for as long as was asked for, while the worker applies.
func (t *ClaimsTable) sustain(ctx context.Context, d *deployment, w *running) error {
	cfg, s := &t.cfg, &t.sustained
	var begun, ended readings
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan []sample, 1)
	load := cfg.load(d, cfg.steady(), cfg.For)
	r, err := cfg.audited(ctx, load, func() {
		s.heapBegin = heap()
		begun = gather(w.metrics)
		go func() { watched <- watch(watching, w) }()
	}, func() {
		ended = gather(w.metrics)
		stop()
		s.samples = <-watched
		s.heapEnd = heap()
	})
	if err != nil {
		return err
	}
	s.accepted = r.Rate()
	s.applied = (ended.applied - begun.applied) / ended.at.Sub(begun.at).Seconds()
	s.note(r)
	s.refused = read(r).refused
	return nil
}

// watch takes samples until ctx ends.
func watch(ctx context.Context, w *running) (list []sample) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return list
		case <-ticker.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			list = append(list, sample{oldest: gather(w.metrics).oldest, rss: resident(), heap: m.HeapAlloc})
		}
	}
}

// resident is how much memory this process has, in bytes; 0 if the system does not say.
func resident() uint64 {
	text, err := os.ReadFile(filepath.Join("/", "proc", "self", "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[0]), 10, 64) // 0 if it is no number
	return n << 10
}

// oldestAt is a quantile, 0 to 1, of the age of the oldest record that is not applied.
func (s *sustained) oldestAt(q float64) time.Duration {
	var ages []time.Duration
	for _, x := range s.samples {
		ages = append(ages, x.oldest)
	}
	if len(ages) == 0 {
		return 0
	}
	slices.Sort(ages)
	return ages[min(len(ages)-1, int(q*float64(len(ages))))]
}

// quarters are the mean resident sizes of the second and of the last quarter of the load: the first one fills caches and pools.
func (s *sustained) quarters() (second, last float64) {
	n := len(s.samples) / 4
	mean := func(part []sample) (sum float64) {
		for _, x := range part {
			sum += float64(x.rss)
		}
		return sum / max(1, float64(len(part)))
	}
	return mean(s.samples[n : 2*n]), mean(s.samples[len(s.samples)-n:])
}

// flatWithin is how much more memory the last quarter may have than the second one to be called flat.
const flatWithin = 1.1

// flat is whether memory grows while the load lasts.
func (s *sustained) flat() bool {
	second, last := s.quarters()
	return last <= second*flatWithin
}
