package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// ring is one version of the key set. The cache belongs to it, so a reload cannot leave a
// token accepted that the new keys would refuse.
type ring struct {
	keys  map[string]key // by kid
	cache *cache
}

// reloads is what is known of the key set and its source.
type reloads struct {
	one     sync.Mutex // held while the source is asked
	source  source
	sum     [sha256.Size]byte // of the document in force
	verdict error             // on the newest document; nil: it is the one in force
	trouble telemetry.Trouble

	mu   sync.Mutex // of what follows
	good time.Time  // when the keys in force were last found to be the newest
	err  error      // why the last reload did not; nil: it did
}

// Run asks for the keys every Config.Every until ctx ends. Nothing else does, whatever tokens come.
func (g *Gate) Run(ctx context.Context) {
	ticker := time.NewTicker(g.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.reload(ctx)
		}
	}
}

// reload brings the newest document into force. If there is none, or none that is usable, the keys before it stay.
func (g *Gate) reload(ctx context.Context) {
	r := &g.reloads
	r.one.Lock()
	defer r.one.Unlock()
	err := g.load(ctx)
	if ctx.Err() != nil {
		return
	}
	r.note(err, g.cfg.Now())
	if err != nil {
		g.metrics.broken.Set(1)
		r.trouble.Again(g.cfg.Logger, slog.LevelError, "keys not reloaded, the last good ones stay", "source", r.source.String(), "error", err)
		return
	}
	g.metrics.broken.Set(0)
	r.trouble.Over(g.cfg.Logger, "keys are reloaded again", "source", r.source.String())
}

func (r *reloads) note(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err = err; err == nil {
		r.good = now
	}
}

// load asks the source. A document that is the same as at the last time is as good, or as bad, as it was then.
func (g *Gate) load(ctx context.Context) error {
	data, changed, err := g.reloads.source.fetch(ctx)
	if remote, ok := g.reloads.source.(*keysURL); ok {
		g.metrics.ends.set(endOfServer, remote.end)
	}
	if err != nil {
		return fmt.Errorf("get keys from %s: %w", g.reloads.source, err)
	}
	if changed {
		g.reloads.verdict = g.adopt(data)
	}
	return g.reloads.verdict
}

// adopt brings a document into force. One that is in force already leaves the verified tokens alone: a server may say the same again and again.
func (g *Gate) adopt(data []byte) error {
	sum := sha256.Sum256(data)
	first := g.ring.Load() == nil
	if !first && sum == g.reloads.sum {
		return nil
	}
	set, err := parseKeys(data)
	if err != nil {
		return fmt.Errorf("read keys from %s: %w", g.reloads.source, err)
	}
	g.ring.Store(&ring{keys: set.keys, cache: newCache(g.cfg.CacheSize)})
	g.reloads.sum = sum
	g.metrics.keys.Set(float64(len(set.keys)))
	g.metrics.ends.set(endOfKey, set.end)
	if !first {
		g.cfg.Logger.Info("keys reloaded", "source", g.reloads.source.String(), "keys", len(set.keys), "passed_over", set.passedOver)
	}
	if _, remote := g.reloads.source.(*keysURL); remote && set.secrets > 0 {
		g.cfg.Logger.Warn("a key set that is fetched holds a secret key: whoever can fetch it can issue tokens; give such keys in -keys-file", "keys", set.secrets)
	}
	return nil
}

// Ready describes the keys in force. err is always nil: without keys there is no gate, and with old ones it works; why they are old, if they are, is in
// the detail.
func (g *Gate) Ready() (detail string, err error) {
	age, broken := g.age()
	detail = fmt.Sprintf("%d keys in force, found to be the newest %s ago", len(g.ring.Load().keys), age.Round(time.Second))
	if broken != nil {
		detail += ", and the last good ones since: " + broken.Error()
	}
	return detail, nil
}

// age is the time since the keys in force were found to be the newest.
func (g *Gate) age() (age time.Duration, broken error) {
	g.reloads.mu.Lock()
	defer g.reloads.mu.Unlock()
	return g.cfg.Now().Sub(g.reloads.good), g.reloads.err
}
