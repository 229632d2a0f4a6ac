package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// sampleEvery is how often the sustained load is looked at.
const sampleEvery = 100 * time.Millisecond

// sustained is what a long load showed.
type sustained struct {
	accepted, applied float64 // a second, within the load
	samples           []look
	heapBegin         uint64 // after a collection
	heapEnd           uint64
	claim
}

// sustain puts on as much load as is accepted, for as long as was asked for, while the worker applies.
func (t *ClaimsTable) sustain(ctx context.Context, server *child) error {
	cfg, s := &t.cfg, &t.sustained
	var begun, ended, after look
	var errs [4]error
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	load := cfg.load(server, cfg.steady(), cfg.For)
	r, err := cfg.audited(ctx, load, func() {
		begun, errs[0] = server.ask(askCollect)
		go func() { watched <- s.watch(watching, server) }()
	}, func() {
		stop()
		errs[1] = <-watched
		ended, errs[2] = server.ask(askLook)
		after, errs[3] = server.ask(askCollect)
	})
	if err = errors.Join(append(errs[:], err)...); err != nil {
		return err
	}
	s.heapBegin, s.heapEnd = begun.Heap, after.Heap
	s.accepted = r.Rate()
	s.applied = (ended.Applied - begun.Applied) / ended.At.Sub(begun.At).Seconds()
	s.note(r)
	s.refused = read(r).refused
	return nil
}

// watch takes samples until ctx ends.
func (s *sustained) watch(ctx context.Context, server *child) error {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			l, err := server.ask(askLook)
			if err != nil {
				return err
			}
			s.samples = append(s.samples, l)
		}
	}
}

// resident is how much memory this process has, in bytes, and how much of that is not mapped from files, which the system takes back when it needs it; 0 if the system does not say.
func resident() (all, own uint64) {
	text, err := os.ReadFile(filepath.Join("/", "proc", "self", "status"))
	if err != nil {
		return 0, 0
	}
	of := func(name string) uint64 {
		_, rest, _ := bytes.Cut(text, []byte(name))
		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		n, _ := strconv.ParseUint(string(fields[0]), 10, 64) // 0 if it is no number
		return n << 10
	}
	return of("VmRSS:"), of("RssAnon:")
}

// oldestAt is a quantile, 0 to 1, of the age of the oldest record that is not applied.
func (s *sustained) oldestAt(q float64) time.Duration {
	var ages []time.Duration
	for _, x := range s.samples {
		ages = append(ages, x.Oldest)
	}
	if len(ages) == 0 {
		return 0
	}
	slices.Sort(ages)
	return ages[min(len(ages)-1, int(q*float64(len(ages))))]
}

// quarters are the means of what of says in the second and in the last quarter of the load: the first one fills caches and pools.
func (s *sustained) quarters(of func(*look) uint64) (second, last float64) {
	n := len(s.samples) / 4
	mean := func(part []look) (sum float64) {
		for i := range part {
			sum += float64(of(&part[i]))
		}
		return sum / max(1, float64(len(part)))
	}
	return mean(s.samples[n : 2*n]), mean(s.samples[len(s.samples)-n:])
}

func ownMemory(l *look) uint64 { return l.Own }
func allMemory(l *look) uint64 { return l.RSS }

// flatWithin is how much more memory the last quarter may have than the second one to be called flat.
const flatWithin = 1.1

// flat is whether the server's own memory stays as it is while the load lasts.
func (s *sustained) flat() bool {
	second, last := s.quarters(ownMemory)
	return last <= second*flatWithin
}
