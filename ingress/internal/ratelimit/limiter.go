package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Defaults of Config.
const (
	DefaultMaxAccounts = 100_000
	DefaultRelistEvery = time.Minute
	DefaultListTimeout = 10 * time.Second
)

// Config of a Limiter. Zero fields mean the default.
type Config struct {
	Default     Limit         // of every account that has none of its own; the zero one is no limit
	MaxAccounts int           // whose triggers are counted at once
	RelistEvery time.Duration // the whole bucket is listed anew
	ListTimeout time.Duration // a list that takes longer is begun again
}

// Peers knows how many ingresses live: peers.Peers.
type Peers interface{ Count() int }

// Deps is what a Limiter works with. It owns none of it.
type Deps struct {
	Broker     *broker.Broker        // nil: no account has a limit of its own
	Peers      Peers                 // nil: there is one ingress
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept and shown to nobody
	Now        func() time.Time      // nil = time.Now
}

// Limiter is safe for concurrent use.
type Limiter struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	active  atomic.Bool // some account may have a limit
	limited telemetry.Trouble
	crowded telemetry.Trouble

	mu      sync.Mutex
	own     map[string]Limit // of accounts that have one
	buckets map[string]*bucket

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New begins to watch the bucket and returns at once; until the first list is there every account has Config.Default. Errors: those of Limit.Validate, and
// of registering the metrics.
func New(cfg Config, deps Deps) (*Limiter, error) {
	if err := cfg.Default.Validate(); err != nil {
		return nil, fmt.Errorf("rate limit: %w", err)
	}
	cfg.MaxAccounts = cmp.Or(cfg.MaxAccounts, DefaultMaxAccounts)
	cfg.RelistEvery = cmp.Or(cfg.RelistEvery, DefaultRelistEvery)
	cfg.ListTimeout = cmp.Or(cfg.ListTimeout, DefaultListTimeout)
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	l := &Limiter{cfg: cfg, deps: deps, own: map[string]Limit{}, buckets: map[string]*bucket{}}
	l.limited.Quiet, l.crowded.Quiet = telemetry.Soon, telemetry.Soon
	l.active.Store(!cfg.Default.off())
	l.metrics = newMetrics(l.count)
	if err := l.metrics.register(deps.Registerer); err != nil {
		return nil, fmt.Errorf("rate limit: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	if deps.Broker != nil {
		l.wg.Go(func() { l.keepWatching(ctx) })
	}
	return l, nil
}

// Close ends the watch. Take goes on with what is known.
func (l *Limiter) Close() {
	l.cancel()
	l.wg.Wait()
}

// Grant is what an account may do.
type Grant struct {
	Taken int           // triggers, of those asked for: the first ones
	Left  int           // triggers that this ingress would take now
	Wait  time.Duration // until it takes one more; 0 if it would now
	Limit Limit         // over the whole deployment; its zero value is none
	Class Class         // of the account
}

// Limited says whether there is a limit at all.
func (g Grant) Limited() bool { return !g.Limit.off() }

// Policy is the value of the header RateLimit-Policy, as draft-ietf-httpapi-ratelimit-headers-10 has it: q triggers in w seconds.
func (g Grant) Policy() string {
	return `"account";q=` + strconv.Itoa(g.Limit.Burst) + ";w=" + strconv.FormatInt(g.Limit.window(), 10)
}

// State is the value of the header RateLimit: r triggers are left for the next t seconds. Where none is left, t says the same as RetryAfter, as the draft demands.
func (g Grant) State() string {
	t := g.Limit.window()
	if g.Left == 0 {
		t = seconds(g.Wait)
	}
	return `"account";r=` + strconv.Itoa(g.Left) + ";t=" + strconv.FormatInt(t, 10)
}

// RetryAfter is the value of the header of that name: whole seconds, at least one.
func (g Grant) RetryAfter() string { return strconv.FormatInt(seconds(g.Wait), 10) }

// Take counts n triggers of an account, or as many of them as it may send now. n over 0.
func (l *Limiter) Take(account string, n int) Grant {
	if !l.active.Load() {
		return Grant{Taken: n}
	}
	g := l.take(account, n)
	if refused := n - g.Taken; refused > 0 {
		l.metrics.refused.Add(float64(refused))
		l.limited.Again(l.deps.Log, slog.LevelWarn, "account sends more than its limit, and is answered 429; others may, too", "account", account, "limit", g.Limit,
			"hint", "ingress limit list")
	}
	return g
}

func (l *Limiter) take(account string, n int) Grant {
	now := l.deps.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, class := l.limitOf(account)
	if class == Unlimited {
		return Grant{Taken: n}
	}
	limit = limit.full()
	p := limit.part(l.ingresses())
	b := l.bucket(account, p, now)
	if b == nil {
		l.metrics.untracked.Add(float64(n))
		l.crowded.Again(l.deps.Log, slog.LevelWarn, "more accounts send at once than are counted: some pass without a limit", "counted", l.cfg.MaxAccounts)
		return Grant{Taken: n, Class: class}
	}
	b.fill(p, now)
	g := Grant{Taken: b.take(n), Limit: limit, Class: class}
	if g.Left = int(b.tokens); g.Left == 0 {
		g.Wait = b.wait(p)
	}
	return g
}

// limitOf is what limits an account. The lock is held.
func (l *Limiter) limitOf(account string) (Limit, Class) {
	limit, class := l.cfg.Default, Usual
	if own, ok := l.own[account]; ok {
		limit, class = own, Own
	}
	if limit.off() {
		class = Unlimited
	}
	return limit, class
}

func (l *Limiter) ingresses() int {
	if l.deps.Peers == nil {
		return 1
	}
	return l.deps.Peers.Count()
}

// bucket is the account's, a full one if it comes new; nil if there is no place for one. The lock is held.
func (l *Limiter) bucket(account string, p part, now time.Time) *bucket {
	if b := l.buckets[account]; b != nil {
		return b
	}
	l.forget(now)
	if len(l.buckets) >= l.cfg.MaxAccounts {
		return nil
	}
	b := &bucket{tokens: p.burst, at: now}
	l.buckets[account] = b
	return b
}

// looks is how many buckets are looked at for each that comes new: more than one, so that those which are full again go faster than new ones come.
const looks = 4

// forget looks at a few buckets, others each time, and forgets those that are full. The lock is held.
func (l *Limiter) forget(now time.Time) {
	n := 0
	for account, b := range l.buckets { // which begins anywhere
		if l.isFull(account, b, now) {
			delete(l.buckets, account)
		}
		if n++; n == looks {
			return
		}
	}
}

func (l *Limiter) isFull(account string, b *bucket, now time.Time) bool {
	limit, class := l.limitOf(account)
	if class == Unlimited {
		return true
	}
	p := limit.part(l.ingresses())
	b.fill(p, now)
	return b.tokens >= p.burst
}

// count is how many accounts have a limit of their own, and how many are counted.
func (l *Limiter) count() (own, counted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.own), len(l.buckets)
}
