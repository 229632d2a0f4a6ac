package directory

import (
	"encoding/base64"
	"sync"
	"time"
)

// key is an account's key in the bucket: account names may hold what subjects may not.
func key(account string) string { return base64.RawURLEncoding.EncodeToString([]byte(account)) }

func accountOf(key string) (string, error) {
	account, err := base64.RawURLEncoding.DecodeString(key)
	return string(account), err
}

// replica is the local copy of the bucket.
type replica struct {
	mu       sync.RWMutex
	accounts map[string]*catalogue
	listedAt time.Time // when a list was last complete
}

func newReplica() *replica {
	return &replica{accounts: map[string]*catalogue{}, listedAt: time.Now()}
}

func (r *replica) get(account string) *catalogue {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.accounts[account]
}

func (r *replica) bot(account string, module int64) (string, bool) {
	cat := r.get(account)
	if cat == nil {
		return "", false
	}
	bot, ok := cat.owners[module]
	return bot, ok
}

// feed takes cat unless the copy has a newer one, and returns the newer of both. Reads, the watch and lists all arrive in any order.
func (r *replica) feed(account string, cat *catalogue) *catalogue {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.accounts[account]; old != nil && old.revision >= cat.revision {
		return old
	}
	if cat.revision > 0 {
		r.accounts[account] = cat
	}
	return cat
}

func (r *replica) complete() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listedAt = time.Now()
}

// age is the time since the last complete list (since the start before the first one), in seconds.
func (r *replica) age() float64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return time.Since(r.listedAt).Seconds()
}

func (r *replica) size() float64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return float64(len(r.accounts))
}
