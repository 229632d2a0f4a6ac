package auth

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/revocation"
)

// cache remembers verified tokens by their hash. It holds two generations of half its
// size: when the young one is full the old one is forgotten, so that a flood of tokens costs
// no search for what to evict, and a token in use survives.
type cache struct {
	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]verified
	half       int
}

// verified is what is known of a token that passed.
type verified struct {
	id    Identity
	until time.Time
	name  revocation.ID // of its jti
	named bool          // it has one
}

func newCache(size int) *cache {
	return &cache{young: make(map[[sha256.Size]byte]verified), half: max(1, size/2)}
}

func (c *cache) get(hash [sha256.Size]byte, now time.Time) (verified, bool) {
	c.mu.RLock()
	v, young := c.young[hash]
	if !young {
		v = c.old[hash]
	}
	c.mu.RUnlock()
	if !now.Before(v.until) {
		return verified{}, false
	}
	if !young {
		c.put(hash, v)
	}
	return v, true
}

func (c *cache) put(hash [sha256.Size]byte, v verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]verified, c.half)
	}
	c.young[hash] = v
}
