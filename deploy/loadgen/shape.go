package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// schedule says when requests are due. For any number of goroutines.
type schedule struct {
	start    time.Time
	end      time.Time     // nothing is due at or after it
	interval time.Duration // between two bursts; 0 = closed loop
	burst    uint64        // requests at once
	tickets  atomic.Uint64
}

// newSchedule is that of a configuration.
func newSchedule(cfg *Config, start time.Time) *schedule {
	s := &schedule{start: start, end: start.Add(cfg.Duration), burst: 1}
	switch {
	case cfg.Burst > 0:
		s.interval, s.burst = cfg.Every, uint64((cfg.Burst+cfg.Batch-1)/cfg.Batch)
	case cfg.Rate > 0:
		s.interval = time.Duration(float64(cfg.Batch) / cfg.Rate * float64(time.Second))
	}
	return s
}

// due waits for the time of the next request and returns it; false when ctx ended. In a closed loop it is now. A request that has to wait for a
// free connection is due all the same: what it waits counts.
func (s *schedule) due(ctx context.Context, w *waiter) (time.Time, bool) {
	if s.interval == 0 {
		return time.Now(), ctx.Err() == nil
	}
	at := s.at(s.tickets.Add(1) - 1)
	return at, w.until(ctx, at) && at.Before(s.end)
}

func (s *schedule) at(ticket uint64) time.Time {
	return s.start.Add(time.Duration(ticket/s.burst) * s.interval)
}

// missed is how many requests were due by now, before the end, and had no connection free to be sent.
func (s *schedule) missed(now time.Time) uint64 {
	if s.end.Before(now) {
		now = s.end.Add(-1)
	}
	if s.interval == 0 || now.Before(s.start) {
		return 0
	}
	due := (uint64(now.Sub(s.start)/s.interval) + 1) * s.burst
	return due - min(due, s.tickets.Load())
}

// waiter is a timer that is used again and again. For one goroutine.
type waiter struct{ timer *time.Timer }

// until waits; false when ctx ended before.
func (w *waiter) until(ctx context.Context, at time.Time) bool {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err() == nil
	}
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.timer.C:
		return true
	case <-ctx.Done():
		w.timer.Stop()
		return false
	}
}

// pause waits; false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	var w waiter
	return w.until(ctx, time.Now().Add(d))
}

// Skew has some users called more than others: Calls % of the triggers are for Users % of the users. The zero value has no hot ones. It is a flag.Value.
type Skew struct{ Calls, Users float64 }

// Set reads 80/1: 80 % of the calls are for 1 % of the users.
func (s *Skew) Set(text string) error {
	calls, users, ok := strings.Cut(text, "/")
	a, errA := strconv.ParseFloat(calls, 64)
	b, errB := strconv.ParseFloat(users, 64)
	if !ok || errA != nil || errB != nil || !(a > 0 && a < 100 && b > 0 && b < 100) {
		return errors.New("not like 80/1: 80 % of the calls for 1 % of the users")
	}
	*s = Skew{a, b}
	return nil
}

func (s *Skew) String() string {
	if s == nil || s.Calls == 0 {
		return ""
	}
	return fmt.Sprintf("%g/%g", s.Calls, s.Users)
}

// hot is how many of n users are.
func (s *Skew) hot(n int) int { return int(math.Round(float64(n) * s.Users / 100)) }

// Percent is a share. It is a flag.Value.
type Percent float64

// Set reads 5% or 5.
func (p *Percent) Set(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return errors.New("not a share like 5%")
	}
	*p = Percent(v)
	return nil
}

func (p *Percent) String() string {
	if p == nil {
		return "0%"
	}
	return strconv.FormatFloat(float64(*p), 'g', -1, 64) + "%"
}

// ring is the users first, first+step, … of one connection, of which each is taken in turn.
type ring struct{ first, step, size, next int }

func (r *ring) take() int {
	n := r.first + r.next*r.step
	if r.next++; r.next >= r.size {
		r.next = 0
	}
	return n
}
