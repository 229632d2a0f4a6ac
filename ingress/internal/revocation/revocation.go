// Package revocation knows which tokens were taken back before they expire. The truth is the KV bucket REVOKED, one key per token, written by an
// operator's command and watched by every ingress.
//
// # Usage
//
// One [Set] serves an ingress: [Set.Revoked] is asked for every token that has a jti, and costs a read lock. [Revoke], [Undo] and [List] are the
// operator's side, and [Command] is `ingress revoke`.
//
// # Names
//
// A jti is whatever its issuer likes; here it is known by its SHA-256 ([Of]), so that none can be a strange key, nor a long one. A value says which jti it
// was, for people.
//
// # Ordering
//
// Whoever serves waits for [Set.Await] first, so that a restart lets nothing pass. A revocation reaches a Set that is connected with the next message. A revocation
// ends when it said that it would, which is when the token has expired: the broker removes the key by itself, some minutes later.
//
// # Failure
//
// A watch can miss a change; so everything is listed again every Config.RelistEvery, and after each reconnect. What a list lacks is forgotten when the next one
// lacks it too, since a list may come from a copy that is behind. While the broker is away the last known set holds. A value that cannot be read revokes its token
// for as long as it is there.
//
// # Bounds
//
// The bucket holds broker.RevokedMaxKeys keys in broker.RevokedMaxBytes; a full one refuses another, aloud, where it is typed. A Set holds no more than
// that.
//
// # Concurrency
//
// Everything is safe for concurrent use.
package revocation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
)

// Bucket is the KV bucket; broker.Ensure has made it.
const Bucket = broker.BucketRevoked

// ID is a jti as this package knows it. It is comparable.
type ID [sha256.Size]byte

// Of names a token by its jti.
func Of(jti string) ID { return sha256.Sum256([]byte(jti)) }

// key is the token's key in the bucket.
func (id ID) key() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func idOf(key string) (id ID, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil || len(data) != len(id) {
		return id, false
	}
	return ID(data), true
}

// Defaults of Config.
const (
	DefaultRelistEvery = time.Minute
	DefaultListTimeout = 10 * time.Second
)

// Config of a Set. Zero fields mean the default.
type Config struct {
	RelistEvery time.Duration // the whole bucket is listed anew
	ListTimeout time.Duration // a list that takes longer is begun again
	MaxKeys     int           // that are held; more are not, aloud
}

// Deps is what a Set works with. The broker stays the caller's.
type Deps struct {
	Broker     *broker.Broker
	Registerer prometheus.Registerer // nil: metrics are kept and shown to nobody
	Log        *slog.Logger          // nil: nothing is logged
}

// Set is the revoked tokens as one ingress knows them. Safe for concurrent use.
type Set struct {
	cfg     Config
	broker  *broker.Broker
	log     *slog.Logger
	metrics *metrics
	known   known

	stop   context.CancelFunc
	ended  sync.WaitGroup
	listed chan struct{} // closed when the first list is complete

	mu      sync.Mutex // of what follows
	listing time.Time  // when a list was last complete; before the first one, when the Set was made
	failed  error      // why the watch is being begun again; nil: it goes on
}

// New begins to watch the bucket and returns at once. Errors: those of registering the metrics.
func New(cfg Config, deps Deps) (*Set, error) {
	cfg.RelistEvery = cmp.Or(cfg.RelistEvery, DefaultRelistEvery)
	cfg.ListTimeout = cmp.Or(cfg.ListTimeout, DefaultListTimeout)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, broker.RevokedMaxKeys)
	s := &Set{cfg: cfg, broker: deps.Broker, log: deps.Log, listed: make(chan struct{}), listing: time.Now()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.known.limit = cfg.MaxKeys
	s.metrics = newMetrics(s)
	if err := s.metrics.register(deps.Registerer); err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.ended.Go(func() { s.watch(ctx) })
	return s, nil
}

// Await returns when the bucket was listed once, or with the error of ctx when that ends first.
func (s *Set) Await(ctx context.Context) error {
	select {
	case <-s.listed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("list revoked tokens: %w", ctx.Err())
	}
}

// Revoked says whether the token with this jti was taken back, as far as it is known here.
func (s *Set) Revoked(jti ID, now time.Time) bool { return s.known.revoked(jti, now) }

// Close ends the watch; while the broker is away that can take some seconds. Afterwards the last known set holds.
func (s *Set) Close() {
	s.stop()
	s.ended.Wait()
}

var errNotListed = errors.New("revoked tokens are not known yet")

// Ready fails until the bucket was listed once. Afterwards it says how many tokens are revoked and how old that knowledge is, and why if the watch is
// interrupted: tokens are judged by the last known set then.
func (s *Set) Ready() (detail string, err error) {
	s.mu.Lock()
	failed, age := s.failed, time.Since(s.listing)
	s.mu.Unlock()
	select {
	case <-s.listed:
	default:
		return "", errors.Join(errNotListed, failed)
	}
	detail = fmt.Sprintf("%d revoked tokens known, listed %s ago", s.known.size(), age.Round(time.Second))
	if failed != nil {
		detail += ", later ones are not: " + failed.Error()
	}
	if n := s.known.tooMany(); n > 0 {
		detail += fmt.Sprintf(", and at least %d MORE IN THE BUCKET THAT STILL PASS: over the limit of %d", n, s.cfg.MaxKeys)
	}
	return detail, nil
}

// age is the time since the last complete list (since the start before the first one), in seconds.
func (s *Set) age() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.listing).Seconds()
}
