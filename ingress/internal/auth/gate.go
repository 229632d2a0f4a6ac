package auth

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of [Config].
const (
	DefaultAudience  = "triggerd"
	DefaultLeeway    = 30 * time.Second // how far the issuer's clock may be off
	DefaultMaxToken  = 8 << 10          // bytes
	DefaultCacheSize = 10_000           // tokens
	DefaultCacheFor  = 5 * time.Minute
	DefaultPoll      = time.Second
)

// Config is how a gate judges. Zero fields take the defaults.
type Config struct {
	KeysFile  string        // JWKS (RFC 7517); mandatory
	Audience  string        // what aud must name
	Issuer    string        // what iss must be; empty = any
	Leeway    time.Duration // allowed to exp, nbf and iat
	MaxToken  int           // bytes; longer ones are refused unread
	CacheSize int           // verified tokens that are remembered
	CacheFor  time.Duration // how long, at most; never beyond exp
	Poll      time.Duration // how often the file may be looked at

	Logger     *slog.Logger          // nil = slog.Default()
	Registerer prometheus.Registerer // nil = metrics are counted, not exposed
	Now        func() time.Time      // nil = time.Now
}

func (c Config) withDefaults() Config {
	setDefault(&c.Audience, DefaultAudience)
	setDefault(&c.Leeway, DefaultLeeway)
	setDefault(&c.MaxToken, DefaultMaxToken)
	setDefault(&c.CacheSize, DefaultCacheSize)
	setDefault(&c.CacheFor, DefaultCacheFor)
	setDefault(&c.Poll, DefaultPoll)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Gate verifies tokens. Safe for concurrent use.
type Gate struct {
	cfg       Config
	validator *jwt.Validator
	metrics   metrics

	ring     atomic.Pointer[ring] // the keys in force, with the tokens they verified
	lastLook atomic.Int64         // when the file was last looked at, Unix nanoseconds

	reload  sync.Mutex // held while the file is read
	version fileVersion
	broken  error // why the newest file is not in force; nil = it is
}

// ring is one version of the key file. The cache belongs to it, so a reload cannot leave a
// token accepted that the new keys would refuse.
type ring struct {
	keys  map[string]key // by kid
	cache *cache
}

// New reads the keys. Without a usable key file there is no gate.
func New(cfg Config) (*Gate, error) {
	cfg = cfg.withDefaults()
	g := &Gate{cfg: cfg, metrics: newMetrics(cfg.Registerer)}
	g.validator = jwt.NewValidator(
		jwt.WithAudience(cfg.Audience), jwt.WithIssuer(cfg.Issuer), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(cfg.Now))
	if err := g.load(); err != nil {
		return nil, err
	}
	g.lastLook.Store(cfg.Now().UnixNano())
	return g, nil
}

// Verify takes the Authorization header's value ("JWT x" or "Bearer x", scheme in any case). Errors wrap ErrToken.
// It costs a hash and a map lookup for a token seen lately, a signature check otherwise.
func (g *Gate) Verify(authorization string) (Identity, error) {
	token, err := g.token(authorization)
	if err != nil {
		return Identity{}, g.refuse(err)
	}
	now := g.cfg.Now()
	g.refresh(now)
	ring := g.ring.Load()
	hash := sha256.Sum256([]byte(token))
	if id, ok := ring.cache.get(hash, now); ok {
		g.metrics.cached.Inc()
		return id, nil
	}
	id, until, err := g.judge(ring, token)
	if err != nil {
		return Identity{}, g.refuse(err)
	}
	ring.cache.put(hash, id, earlier(until, now.Add(g.cfg.CacheFor)))
	g.metrics.verified.Inc()
	return id, nil
}

func (g *Gate) refuse(cause error) error {
	g.metrics.refused.Inc()
	return fmt.Errorf("%w: %w", ErrToken, cause)
}

// token takes the credentials out of the header's value.
func (g *Gate) token(authorization string) (string, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	if !strings.EqualFold(scheme, "JWT") && !strings.EqualFold(scheme, "Bearer") {
		return "", errScheme
	}
	token = strings.TrimLeft(token, " ")
	if len(token) > g.cfg.MaxToken {
		return "", errTooLong
	}
	return token, nil
}

// judge verifies a token: the signature first, then what it says. until is when it expires.
func (g *Gate) judge(ring *ring, token string) (id Identity, until time.Time, err error) {
	parts, err := split(token)
	if err != nil {
		return id, until, err
	}
	if err := ring.checkSignature(parts); err != nil {
		return id, until, err
	}
	claims, err := parseClaims(parts.claims)
	if err != nil {
		return id, until, err
	}
	if err := g.validator.Validate(claims); err != nil {
		return id, until, err
	}
	id = Identity{Account: claims.subject, Scopes: ParseScopes(claims.scope)}
	return id, claims.expires.Time, nil
}

// checkSignature finds the key that the header names and asks it, with the algorithm that the
// key has.
func (r *ring) checkSignature(parts segments) error {
	h, err := parseHeader(parts.header)
	if err != nil {
		return err
	}
	k, ok := r.key(h.keyID)
	if !ok {
		return errKey
	}
	if h.algorithm != k.method.Alg() {
		return errAlgorithm
	}
	return k.method.Verify(parts.signed, parts.signature, k.material)
}

// key finds a key by its id. A token may leave the id out if there is only one key.
func (r *ring) key(id string) (key, bool) {
	if id == "" && len(r.keys) == 1 {
		for _, k := range r.keys {
			return k, true
		}
	}
	k, ok := r.keys[id]
	return k, ok
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
