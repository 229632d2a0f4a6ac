// Package admission answers, before a record is appended, whether its user is known: from a bounded cache, or by asking
// the partition's owner, many callers in one request. It never makes accepting depend on a worker.
//
// # Usage
//
// One [Admission] serves an ingress. Call [Admission.User] for every trigger (while the record waits behind the batch in
// flight, say), [Admission.Learn] when a user was seen to exist, [Admission.Forget] once a user's deletion is applied. [Admission.Close] last.
//
// # Verdicts
//
// Known may be up to Config.CacheTTL old: within that time a user deleted through another ingress still passes, and the
// machine rejects the record. Unknown is always fresh and final: the owner has applied everything that was in the log when it was asked. All that
// is neither is Unverified, and then the machine judges.
//
// # How it asks
//
// One quick request per partition is in flight; those who come meanwhile gather and travel together in the next one, the same user only once.
// A quick request is answered from what the owner has applied. Users that are not in there are asked for again in a patient
// request, which the owner holds until it can deny them for good; so strangers do not make anybody else wait.
//
// # Failure
//
// An owner that is absent, or has not answered within Config.Timeout, trips the partition's breaker: all who wait get
// Unverified, and so does everyone for Config.Breaker; then one question is sent as a probe. An answer that comes later than that still
// feeds the cache. One caller's cancelled context ends that caller's wait alone.
//
// # Concurrency
//
// Everything is safe for concurrent use. A cache hit allocates nothing and takes one shard's read lock. What waits is
// bounded by Config.MaxGatherings times Config.MaxChecks for each partition; who finds no place is Unverified.
package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/statequery"
)

// Verdict is what is known of a user.
type Verdict uint8

const (
	Known      Verdict = iota + 1
	Unknown            // final: the owner has applied everything that was in the log when asked
	Unverified         // nobody answered in time; accept, the machine judges
)

func (v Verdict) String() string {
	switch v {
	case Known:
		return "known"
	case Unknown:
		return "unknown"
	case Unverified:
		return "unverified"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Defaults of Config.
const (
	DefaultTimeout       = 100 * time.Millisecond
	DefaultBreaker       = time.Second
	DefaultCacheTTL      = 30 * time.Second
	DefaultCacheUsers    = 1 << 19
	DefaultMaxChecks     = statequery.MaxChecks
	DefaultMaxGatherings = 8
)

// Config says how to ask. Zero fields other than Partitions mean the default.
type Config struct {
	Partitions    int           // of the deployment; mandatory
	Timeout       time.Duration // longest time a caller waits
	Breaker       time.Duration // how long an owner that was silent is not asked
	CacheTTL      time.Duration // how long a user counts as known after a positive answer
	CacheUsers    int           // users remembered, about 40 bytes each
	MaxChecks     int           // users in one request, at most statequery.MaxChecks
	MaxGatherings int           // requests being gathered behind those in flight, per partition and kind
}

// Validate joins all faults.
func (c Config) Validate() error {
	var faults []error
	positive := func(name string, v int64) {
		if v < 0 {
			faults = append(faults, fmt.Errorf("%s is negative", name))
		}
	}
	if c.Partitions < 1 {
		faults = append(faults, fmt.Errorf("partitions is %d, under 1", c.Partitions))
	}
	if c.MaxChecks > statequery.MaxChecks {
		faults = append(faults, fmt.Errorf("max checks is %d, over %d", c.MaxChecks, statequery.MaxChecks))
	}
	positive("timeout", int64(c.Timeout))
	positive("breaker", int64(c.Breaker))
	positive("cache ttl", int64(c.CacheTTL))
	positive("cache users", int64(c.CacheUsers))
	positive("max checks", int64(c.MaxChecks))
	positive("max gatherings", int64(c.MaxGatherings))
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.Timeout = or(c.Timeout, DefaultTimeout)
	c.Breaker = or(c.Breaker, DefaultBreaker)
	c.CacheTTL = or(c.CacheTTL, DefaultCacheTTL)
	c.CacheUsers = or(c.CacheUsers, DefaultCacheUsers)
	c.MaxChecks = or(c.MaxChecks, DefaultMaxChecks)
	c.MaxGatherings = or(c.MaxGatherings, DefaultMaxGatherings)
	return c
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Asker puts one question to a partition's owner; *statequery.Client is one. It must return once ctx ends.
type Asker interface {
	Ask(ctx context.Context, p int, req statequery.Request) (statequery.Reply, error)
}

// Deps is what an Admission works with.
type Deps struct {
	Asker      Asker
	Registerer prometheus.Registerer // nil: metrics are kept and shown to nobody
}

// Admission is safe for concurrent use.
type Admission struct {
	cfg        Config
	asker      Asker
	cache      *cache
	metrics    *metrics
	partitions []*partition
	ctx        context.Context // ends with Close; the owner of every question in flight
	cancel     context.CancelFunc
	wg         sync.WaitGroup // one for each goroutine that asks
}

// New starts nothing: goroutines exist only while somebody asks. Errors: those of Config.Validate, and of registering the metrics.
func New(cfg Config, deps Deps) (*Admission, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("admission: %w", err)
	}
	if deps.Asker == nil {
		return nil, errors.New("admission: no asker")
	}
	cfg = cfg.withDefaults()
	a := &Admission{cfg: cfg, asker: deps.Asker, cache: newCache(cfg.CacheUsers, cfg.CacheTTL)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	for p := range cfg.Partitions {
		a.partitions = append(a.partitions, newPartition(a, p))
	}
	a.metrics = newMetrics(a)
	if err := a.metrics.register(deps.Registerer); err != nil {
		a.cancel()
		return nil, fmt.Errorf("admission: %w", err)
	}
	return a, nil
}

// User says whether the account has the user. It never takes longer than Config.Timeout, nor beyond ctx's end (Unverified then).
// The strings may be backed by a buffer that is reused once User has returned.
func (a *Admission) User(ctx context.Context, p int, account, user string) Verdict {
	if a.cache.has(statequery.User{Account: account, User: user}) {
		return Known
	}
	r := a.ask(ctx, p, statequery.Check{Account: account, User: user})
	a.metrics.checks[r].Inc()
	return r.verdict()
}

// Prior is what an idempotency key stands for already.
type Prior struct {
	TriggerID string // the first trigger that came with it; empty: none that is known of
	Print     string // fingerprint of that trigger's request
	NoRoom    bool   // there is none, and the partition has no room for another key
	Final     bool   // everything was applied that was in the log when the question came; else the machine judges
}

// Keyed is User for a trigger with an idempotency key, about which it asks as well, always. The key's answer counts before the user's. What it
// does not know of a key, because the owner is away or behind, the machine finds out.
func (a *Admission) Keyed(ctx context.Context, p int, account, user, key string) (Verdict, Prior) {
	cached := a.cache.has(statequery.User{Account: account, User: user})
	found := a.askPatiently(ctx, p, statequery.Check{Account: account, User: user, Key: key})
	if cached {
		return Known, found.prior
	}
	a.metrics.checks[found.result].Inc()
	return found.result.verdict(), found.prior
}

// Learn tells the cache that the user exists (a PUT was applied).
func (a *Admission) Learn(account, user string) {
	a.cache.learn(statequery.User{Account: account, User: user})
}

// Forget tells the cache that the user was deleted here; call it when the deletion is applied. It beats a positive answer
// that was asked for before and arrives after.
func (a *Admission) Forget(account, user string) {
	a.cache.forget(statequery.User{Account: account, User: user})
}

// Close ends every wait with Unverified and returns when all goroutines have ended. Afterwards only the cache answers.
func (a *Admission) Close() {
	a.cancel()
	for _, p := range a.partitions {
		p.close()
	}
	a.wg.Wait()
}

// finding is what asking gave.
type finding struct {
	result result
	prior  Prior
}

// ask finds the verdict on a user that is not cached.
func (a *Admission) ask(ctx context.Context, p int, who statequery.Check) result {
	part, ok := a.partition(p, who)
	if !ok {
		return invalid
	}
	start := time.Now()
	if r := part.ask(ctx, &part.quick, who).result; r != unsure {
		return r
	}
	left, cancel := context.WithDeadline(ctx, start.Add(a.cfg.Timeout))
	defer cancel()
	return timely(ctx, part.ask(left, &part.patient, who)).result
}

// askPatiently finds out about a key, most likely a new one: a negative that the owner would have to wait with in any case.
func (a *Admission) askPatiently(ctx context.Context, p int, who statequery.Check) finding {
	part, ok := a.partition(p, who)
	if !ok {
		return finding{result: invalid}
	}
	left, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	return timely(ctx, part.ask(left, &part.patient, who))
}

// partition is where to ask; not ok if asking would spoil the question of all who travel with it.
func (a *Admission) partition(p int, who statequery.Check) (part *partition, ok bool) {
	if p < 0 || p >= len(a.partitions) || !who.Valid() {
		return nil, false
	}
	return a.partitions[p], true
}

// timely says what an answer is that did not come in time, or not far enough.
func timely(ctx context.Context, found finding) finding {
	if found.result == cancelled && ctx.Err() == nil || found.result == unsure {
		found.result = behind
	}
	return found
}
