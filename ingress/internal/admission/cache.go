package admission

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

// shards is how many locks the cache has; a power of two.
const shards = 64

// print stands for a user: 64 bits of a hash that is seeded anew in each process. Two users in a full cache of half a million share one with a probability
// of about 10⁻⁸; then one could count as known because the other is, and the machine would judge it: what Unverified means anyway. In return a
// lookup touches no strings but the caller's, and the collector has nothing to look at.
type print uint64

// cache remembers users that are known, for a fixed time each, and not more than a fixed number. It holds positive answers only: a user that is
// not in it may well exist.
type cache struct {
	ttl   time.Duration
	start time.Time // expiries are counted from here, by the monotonic clock
	seed  maphash.Seed
	shard [shards]shard
}

// shard keeps two generations. Entries go into the young one; when that is half the shard's share, or older than an entry may get, it becomes the old one
// and what was old is dropped whole. That bounds the shard without a list of its entries in some order.
type shard struct {
	mu      sync.RWMutex
	young   map[print]time.Duration // user → expiry
	old     map[print]time.Duration
	born    time.Duration // when young became young
	half    int           // most entries of a generation
	forgets atomic.Uint64 // raised, under mu, by every forget
	hits    atomic.Uint64
	misses  atomic.Uint64
	_       [64]byte // keeps neighbours' locks out of one cache line
}

func newCache(users int, ttl time.Duration) *cache {
	c := &cache{ttl: ttl, start: time.Now(), seed: maphash.MakeSeed()}
	for i := range c.shard {
		c.shard[i].half = max(1, users/shards/2)
		c.shard[i].young = map[print]time.Duration{}
	}
	return c
}

func (c *cache) of(who statequery.User) (*shard, print) {
	h := maphash.Comparable(c.seed, who)
	return &c.shard[h%shards], print(h)
}

// has reports whether the user is known, and counts the hit or miss.
func (c *cache) has(who statequery.User) bool {
	s, key := c.of(who)
	now := time.Since(c.start)
	s.mu.RLock()
	until, ok := s.young[key]
	if !ok {
		until, ok = s.old[key]
	}
	s.mu.RUnlock()
	if ok && now < until {
		s.hits.Add(1)
		return true
	}
	s.misses.Add(1)
	return false
}

// token is to be taken before asking for the user; put takes the answer only if nothing was forgotten since.
func (c *cache) token(who statequery.User) uint64 {
	s, _ := c.of(who)
	return s.forgets.Load()
}

// put remembers a positive answer. A forget of another user in the shard makes it void too; that costs one more question.
func (c *cache) put(who statequery.User, token uint64) {
	s, key := c.of(who)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgets.Load() == token {
		s.store(key, time.Since(c.start), c.ttl)
	}
}

func (c *cache) learn(who statequery.User) {
	s, key := c.of(who)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(key, time.Since(c.start), c.ttl)
}

func (c *cache) forget(who statequery.User) {
	s, key := c.of(who)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgets.Add(1)
	delete(s.young, key)
	delete(s.old, key)
}

func (s *shard) store(key print, now, ttl time.Duration) {
	if len(s.young) >= s.half || now-s.born >= ttl {
		s.old, s.young, s.born = s.young, make(map[print]time.Duration), now
	}
	s.young[key] = now + ttl
}

// count sums a number over all shards, for the metrics.
func (c *cache) count(of func(*shard) uint64) float64 {
	var sum uint64
	for i := range c.shard {
		sum += of(&c.shard[i])
	}
	return float64(sum)
}

func (s *shard) entries() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return uint64(len(s.young) + len(s.old))
}
