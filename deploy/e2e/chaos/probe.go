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

// longest is the longest time of each partition, one that has not ended included.
func (s *stalls) longest() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := append([]time.Duration(nil), s.worst...)
	for p := range longest {
		longest[p] = max(longest[p], time.Since(s.last[p]))
	}
	return longest
}

// String is the longest time of each partition.
func (s *stalls) String() string {
	var b strings.Builder
	for _, d := range s.longest() {
		fmt.Fprintf(&b, " %dms", d.Milliseconds())
	}
	return strings.TrimSpace(b.String())
}

const (
	probeEvery   = 20 * time.Millisecond
	probeTimeout = 300 * time.Millisecond
)

// probe asks for something again and again, also while an earlier question waits: one that is lost must not hide that the next one would be answered.
func (f *Fleet) probe(ctx context.Context, path string, answered func()) {
	c := newClient(f.addrs(), f.token)
	defer c.http.CloseIdleConnections()
	var asking sync.WaitGroup
	defer asking.Wait()
	for pause(ctx, probeEvery) {
		asking.Go(func() { ask(ctx, c, path, answered) })
	}
}

func ask(ctx context.Context, c *client, path string, answered func()) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if a := c.call(ctx, http.MethodGet, path, ""); a.err == nil && a.status == http.StatusOK {
		answered()
	}
}

// startProbes registers a user for each partition and begins to ask their owners for them.
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
		f.background.Go(func() { f.probe(ctx, "/v1/users/"+user, func() { f.answers.mark(p) }) })
	}
	f.background.Go(func() { f.probe(ctx, "/openapi.json", func() { f.machine.mark(0) }) })
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
