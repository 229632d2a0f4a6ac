package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
)

// stalls measures for how long the partitions were without something.
type stalls struct {
	mu    sync.Mutex
	last  []time.Time
	count []int
	worst []time.Duration
}

func newStalls(partitions int) *stalls {
	s := &stalls{last: make([]time.Time, partitions), count: make([]int, partitions), worst: make([]time.Duration, partitions)}
	s.begin()
	return s
}

// begin forgets everything: from now on there is what is measured.
func (s *stalls) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.last {
		s.last[p], s.count[p], s.worst[p] = time.Now(), 0, 0
	}
}

// mark: partition p had it.
func (s *stalls) mark(p int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.worst[p] = max(s.worst[p], now.Sub(s.last[p]))
	s.last[p] = now
	s.count[p]++
}

// reset begins a new measurement.
func (s *stalls) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.last {
		s.count[p], s.worst[p] = 0, 0
	}
}

// counts says how often each partition had it since the measurement began.
func (s *stalls) counts() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int(nil), s.count...)
}

// String is the longest time of each partition.
func (s *stalls) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for p, worst := range s.worst {
		worst = max(worst, time.Since(s.last[p]))
		fmt.Fprintf(&b, " %dms", worst.Milliseconds())
	}
	return strings.TrimSpace(b.String())
}

const (
	probeEvery   = 20 * time.Millisecond
	probeTimeout = 300 * time.Millisecond
)

// probe asks the owner of a partition for a user, again and again.
func (f *Fleet) probe(ctx context.Context, p int, user string) {
	c := newClient(f.addrs(), f.token)
	for pause(ctx, probeEvery) {
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		a := c.call(asking, http.MethodGet, "/v1/users/"+user, "")
		cancel()
		if a.err == nil && a.status == http.StatusOK {
			f.answers.mark(p)
		}
	}
	c.http.CloseIdleConnections()
}

// startProbes registers a user for each partition and begins to ask.
func (f *Fleet) startProbes(ctx context.Context) error {
	c := newClient(f.addrs(), f.token)
	if err := declare(ctx, c); err != nil {
		return err
	}
	for p := range f.cfg.Partitions {
		user := userOf(p, f.cfg.Partitions)
		if err := register(ctx, c, user); err != nil {
			return err
		}
		f.background.Go(func() { f.probe(ctx, p, user) })
	}
	return nil
}

// userOf is a name that falls to a partition.
func userOf(p, partitions int) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("probe-%d", i); broker.Partition(tenant, name, partitions) == p {
			return name
		}
	}
}
