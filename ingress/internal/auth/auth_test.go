package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// start is when the tests happen.
var start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer holds one private key of each kind, and the set that a gate reads.
type issuer struct {
	ed     ed25519.PrivateKey
	ec     *ecdsa.PrivateKey
	rsa    *rsa.PrivateKey
	secret []byte
}

// newIssuer makes keys once: RSA takes long.
var newIssuer = sync.OnceValue(func() *issuer {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	return &issuer{ed: ed, ec: ec, rsa: rs, secret: []byte("0123456789abcdef0123456789abcdef")}
})

type jwk map[string]string

func (i *issuer) keys() []jwk {
	point, _ := i.ec.PublicKey.Bytes()
	return []jwk{
		{"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(i.ed.Public().(ed25519.PublicKey))},
		{"kty": "EC", "kid": "ec", "alg": "ES256", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "RSA", "kid": "rs", "use": "sig", "n": b64(i.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "oct", "kid": "hs", "k": b64(i.secret)},
	}
}

func b64(data []byte) string { return strict.EncodeToString(data) }

func keySet(keys ...jwk) []byte {
	data, _ := json.Marshal(map[string]any{"keys": keys})
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

func newGate(t testing.TB, keys ...jwk) (*Gate, *clock) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	writeFile(t, path, keySet(keys...))
	c := &clock{now: start}
	g, err := New(Config{KeysFile: path, Now: c.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return g, c
}

func claimsOf(change map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "demo", "aud": "triggerd", "scope": "trigger", "exp": start.Add(time.Hour).Unix()}
	for name, value := range change {
		c[name] = value
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

func signed(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for name, value := range header {
		token.Header[name] = value
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rawToken signs header and claims as they are spelled, with the Ed25519 key.
func rawToken(i *issuer, header, claims string) string {
	s := b64([]byte(header)) + "." + b64([]byte(claims))
	sig, _ := i.ed.Sign(nil, []byte(s), crypto.Hash(0))
	return s + "." + b64(sig)
}

func TestVerifyAcceptsEveryKindOfKey(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	for _, tc := range []struct {
		kid    string
		method jwt.SigningMethod
		key    any
	}{
		{"ed", jwt.SigningMethodEdDSA, i.ed},
		{"ec", jwt.SigningMethodES256, i.ec},
		{"rs", jwt.SigningMethodRS256, i.rsa},
		{"hs", jwt.SigningMethodHS256, i.secret},
	} {
		token := signed(t, tc.method, tc.key, map[string]any{"kid": tc.kid}, claimsOf(nil))
		for _, scheme := range []string{"JWT ", "Bearer ", "jwt ", "bEARER  "} {
			id, err := g.Verify(scheme + token)
			if err != nil || id != (Identity{"demo", ScopeTrigger}) {
				t.Errorf("%s, %q: %v, %v", tc.kid, scheme, id, err)
			}
		}
	}
}

func TestVerifyAcceptsOnlyKeyWithoutKid(t *testing.T) {
	i := newIssuer()
	token := signed(t, jwt.SigningMethodEdDSA, i.ed, nil, claimsOf(nil))
	one, _ := newGate(t, i.keys()[0])
	if _, err := one.Verify("JWT " + token); err != nil {
		t.Errorf("only key: %v", err)
	}
	many, _ := newGate(t, i.keys()...)
	if _, err := many.Verify("JWT " + token); err == nil {
		t.Error("several keys: accepted without kid")
	}
}

func TestScopes(t *testing.T) {
	for words, want := range map[string]Scopes{
		"":                        0,
		"trigger":                 ScopeTrigger,
		"runtime admin":           ScopeRuntime | ScopeAdmin,
		" trigger  openid admin ": ScopeTrigger | ScopeAdmin,
		"Trigger triggers":        0,
	} {
		if got := ParseScopes(words); got != want {
			t.Errorf("%q: %b, want %b", words, got, want)
		}
	}
}
