package ratelimit

import (
	"math"
	"time"
)

// bucket is what an account has left here. Its limit is not its own: it is said each time.
type bucket struct {
	tokens float64
	at     time.Time
}

// part is an ingress's part of a limit.
type part struct {
	rate  float64 // tokens a second, over 0
	burst float64 // tokens, at least 1
}

func (l Limit) part(ingresses int) part {
	l = l.full()
	n := float64(max(1, ingresses))
	return part{rate: l.Rate / n, burst: max(1, math.Floor(float64(l.Burst)/n))}
}

// fill adds what the time since then has brought. A clock that goes back brings nothing.
func (b *bucket) fill(p part, now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens += passed * p.rate
	}
	b.at, b.tokens = now, min(b.tokens, p.burst)
}

// take takes up to n whole tokens of a filled bucket.
func (b *bucket) take(n int) int {
	n = min(n, int(b.tokens))
	b.tokens -= float64(n)
	return n
}

// wait is how long it takes until there is a whole token. The bucket has less than one.
func (b *bucket) wait(p part) time.Duration {
	return time.Duration(min((1-b.tokens)/p.rate*float64(time.Second), maxWait))
}
