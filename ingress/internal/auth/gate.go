package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress/internal/revocation"
)

// Defaults of [Config].
const (
	DefaultAudience  = "triggerd"
	DefaultLeeway    = 30 * time.Second // how far the issuer's clock may be off
	DefaultMaxToken  = 8 << 10          // bytes
	DefaultCacheSize = 10_000           // tokens
	DefaultCacheFor  = 5 * time.Minute

	DefaultFileEvery  = time.Second     // a file is looked at
	DefaultURLEvery   = time.Minute     // a server is asked
	DefaultURLTimeout = 5 * time.Second // for an answer of it
	MinURLEvery       = time.Second
)

// Config is how a gate judges. Zero fields take the defaults.
type Config struct {
	KeysFile   string        // JWKS (RFC 7517); this or KeysURL is mandatory
	KeysURL    string        // of a JWKS: https, or http to this machine
	KeysCA     string        // file with the certificates (PEM) that sign the server of KeysURL; empty: the system's
	Every      time.Duration // how often the file is looked at, or the server asked
	URLTimeout time.Duration // for one answer of the server

	Audience  string        // what aud must name
	Issuer    string        // what iss must be; empty = any
	Leeway    time.Duration // allowed to exp, nbf and iat
	MaxToken  int           // bytes; longer ones are refused unread
	CacheSize int           // verified tokens that are remembered
	CacheFor  time.Duration // how long, at most; never beyond exp

	// Revoked says whether the token with a jti was taken back. It is asked for every such token that passes otherwise, also for one that is
	// remembered; nil = none ever is.
	Revoked func(jti revocation.ID, now time.Time) bool

	Logger     *slog.Logger          // nil = slog.Default()
	Registerer prometheus.Registerer // nil = metrics are counted, not exposed
	Now        func() time.Time      // nil = time.Now
}

// Validate joins all that is wrong with where the keys come from.
func (c Config) Validate() error {
	var faults []error
	fault := func(wrong bool, what string) {
		if wrong {
			faults = append(faults, errors.New(what))
		}
	}
	fault(c.KeysFile == "" && c.KeysURL == "", "-keys-file and -keys-url are both empty: one of them says who may issue tokens")
	fault(c.KeysFile != "" && c.KeysURL != "", "-keys-file and -keys-url are both given: which of them is right?")
	fault(c.KeysCA != "" && c.KeysURL == "", "-keys-url-ca is given without -keys-url")
	if c.KeysURL != "" {
		_, err := newKeysURL(c.KeysURL, c.KeysCA, c.URLTimeout)
		faults = append(faults, err)
		fault(c.Every > 0 && c.Every < MinURLEvery, "-keys-url-every is under "+MinURLEvery.String())
	}
	fault(c.Every < 0 || c.URLTimeout < 0, "-keys-url-every or -keys-url-timeout is negative")
	return errors.Join(faults...)
}

// CheckFile says what is wrong with a file of keys, as a gate would find it. flagName names it.
func CheckFile(flagName, file string) error {
	data, err := readLimited(file, maxKeysDocument)
	if err == nil {
		_, err = parseKeys(data)
	}
	if err != nil {
		return fmt.Errorf("read -%s: %w", flagName, err)
	}
	return nil
}

func (c Config) source() (source, error) {
	if c.KeysURL != "" {
		return newKeysURL(c.KeysURL, c.KeysCA, c.URLTimeout)
	}
	return &keysFile{path: c.KeysFile}, nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.Audience, DefaultAudience)
	setDefault(&c.Leeway, DefaultLeeway)
	setDefault(&c.MaxToken, DefaultMaxToken)
	setDefault(&c.CacheSize, DefaultCacheSize)
	setDefault(&c.CacheFor, DefaultCacheFor)
	setDefault(&c.URLTimeout, DefaultURLTimeout)
	if c.KeysURL != "" {
		setDefault(&c.Every, DefaultURLEvery)
	}
	setDefault(&c.Every, DefaultFileEvery)
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

	ring    atomic.Pointer[ring] // the keys in force, with the tokens they verified
	reloads reloads
}

// New reads the keys, from a server within Config.URLTimeout. Without usable ones there is no gate. Whoever gets one should Run it.
func New(cfg Config) (*Gate, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Gate{cfg: cfg}
	g.validator = jwt.NewValidator(
		jwt.WithAudience(cfg.Audience), jwt.WithIssuer(cfg.Issuer), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(cfg.Leeway), jwt.WithTimeFunc(cfg.Now))
	g.metrics = newMetrics(func() float64 { age, _ := g.age(); return age.Seconds() })
	var err error
	if g.reloads.source, err = cfg.source(); err != nil {
		return nil, err
	}
	if err := g.load(context.Background()); err != nil {
		return nil, err
	}
	g.reloads.note(nil, cfg.Now())
	return g, g.metrics.register(cfg.Registerer)
}

// Verify takes the Authorization header's value ("JWT x" or "Bearer x", scheme in any case). Errors wrap ErrToken.
// It costs a hash and a map lookup for a token seen lately, a signature check otherwise.
func (g *Gate) Verify(authorization string) (Identity, error) {
	token, err := g.token(authorization)
	if err != nil {
		return Identity{}, g.refuse(err)
	}
	now := g.cfg.Now()
	ring := g.ring.Load()
	hash := sha256.Sum256([]byte(token))
	v, cached := ring.cache.get(hash, now)
	if !cached {
		if v, err = g.judge(ring, token); err != nil {
			return Identity{}, g.refuse(err)
		}
		v.until = earlier(v.until, now.Add(g.cfg.CacheFor))
		ring.cache.put(hash, v)
	}
	if v.named && g.cfg.Revoked != nil && g.cfg.Revoked(v.name, now) {
		return Identity{}, g.refuse(errRevoked)
	}
	g.metrics.passed(cached)
	return v.id, nil
}

func (g *Gate) refuse(cause error) error {
	g.metrics.refused.Inc()
	g.metrics.reasons[reasonOf(cause)].Inc()
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
func (g *Gate) judge(ring *ring, token string) (v verified, err error) {
	parts, err := split(token)
	if err != nil {
		return v, err
	}
	if err := ring.checkSignature(parts); err != nil {
		return v, err
	}
	claims, err := parseClaims(parts.claims)
	if err != nil {
		return v, err
	}
	if err := g.validator.Validate(claims); err != nil {
		return v, err
	}
	v.id = Identity{Account: claims.subject, Scopes: ParseScopes(claims.scope)}
	v.until, v.name, v.named = claims.expires.Time, revocation.Of(claims.tokenID), claims.tokenID != ""
	return v, nil
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
	if err := k.method.Verify(parts.signed, parts.signature, k.material); err != nil {
		return fmt.Errorf("%w: %w", errSignature, err)
	}
	return nil
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
