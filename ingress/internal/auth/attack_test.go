package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const goodHeader = `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`

// goodClaims are valid at the time of the tests, with room for more at the end.
func goodClaims(more string) string {
	return fmt.Sprintf(`{"sub":"demo","aud":"triggerd","scope":"trigger","exp":%d%s}`, start.Add(time.Hour).Unix(), more)
}

func claimsWith(name, value string) string {
	claims := map[string]string{"sub": `"demo"`, "aud": `"triggerd"`, "scope": `"trigger"`, "exp": fmt.Sprint(start.Add(time.Hour).Unix())}
	claims[name] = value
	var members []string
	for name, value := range claims {
		if value != "" {
			members = append(members, `"`+name+`":`+value)
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// seconds spells a time as a claim does.
func seconds(d time.Duration) string { return fmt.Sprint(start.Add(d).Unix()) }

// TestAttacks holds the tokens of attacks_test.go against a gate. The good one passes, so that the others cannot fail for a reason that they all share.
func TestAttacks(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	if _, err := g.Verify("JWT " + rawToken(i, goodHeader, goodClaims(""))); err != nil {
		t.Fatal(err)
	}
	for name, token := range attacks(t, i) {
		t.Run(name, func(t *testing.T) {
			id, err := g.Verify("JWT " + token)
			if !errors.Is(err, ErrToken) || id != (Identity{}) {
				t.Fatalf("%v, %v", id, err)
			}
			if len(token) > 20 && strings.Contains(err.Error(), token[:20]) {
				t.Errorf("the error quotes the token: %v", err)
			}
		})
	}
}

// stray changes the bits of a last character that stand for no byte.
func stray(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

func manyClaims(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"c%d":%d`, i, i)
	}
	return b.String()
}

// confused signs with the RSA public key, which is no secret, as if it were one.
func confused(t testing.TB, i *issuer) string {
	der, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s := b64([]byte(`{"alg":"HS256","kid":"rs"}`)) + "." + b64([]byte(goodClaims("")))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(s))
	return s + "." + b64(mac.Sum(nil))
}

// TestHarmlessTokens shows what must not be mistaken for an attack.
func TestHarmlessTokens(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	for name, token := range map[string]string{
		"spaces behind":        spelled(i, b64([]byte(goodHeader+"  ")), b64([]byte(goodClaims("")+"  "))),
		"a secret's signature": hmacWith(i, "hs", i.secret),
		"an escaped kid":       rawToken(i, `{"alg":"EdDSA","kid":"\u0065d"}`, goodClaims("")),
		"names in other cases": rawToken(i, `{"alg":"EdDSA","kid":"ed","X":1}`, goodClaims(`,"Realm":1,"x5t":2`)),
		"the last second":      rawToken(i, goodHeader, claimsWith("exp", "253402300799")),
		"since ever":           rawToken(i, goodHeader, claimsWith("nbf", "0")),
		"a jti":                rawToken(i, goodHeader, goodClaims(`,"jti":"`+strings.Repeat("x", 256)+`"`)),
		"no typ":               rawToken(i, `{"alg":"EdDSA","kid":"ed"}`, goodClaims("")),
		"access token":         rawToken(i, `{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`, goodClaims("")),
		"unknown header":       rawToken(i, `{"alg":"EdDSA","kid":"ed","x":{"y":[1]}}`, goodClaims("")),
		"several audiences":    rawToken(i, goodHeader, claimsWith("aud", `["other","triggerd"]`)),
		"no scope":             rawToken(i, goodHeader, claimsWith("scope", "")),
		"unknown claims":       rawToken(i, goodHeader, goodClaims(`,"realm_access":{"roles":["a","b"]},"x":1e400`)),
		"clock a little ahead": rawToken(i, goodHeader, claimsWith("iat", seconds(29*time.Second))),
		"clock a little late":  rawToken(i, goodHeader, claimsWith("exp", seconds(-29*time.Second))),
		"account with spaces":  rawToken(i, goodHeader, claimsWith("sub", `"Ünïcode & Sons"`)),
	} {
		if _, err := g.Verify("Bearer " + token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuthorizationHeaders(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	token := rawToken(i, goodHeader, goodClaims(""))
	for header, ok := range map[string]bool{
		"JWT " + token: true, "bearer " + token: true, " JWT  " + token + " ": true,
		"": false, "JWT": false, "JWT ": false, token: false, "Basic " + token: false, "JWT" + token: false, "JWT\t" + token: false,
		"JWT " + token + " x": false, "JWT JWT " + token: false, "JWT " + token + "," + token: false,
	} {
		if _, err := g.Verify(header); (err == nil) != ok {
			t.Errorf("%.12q…: %v", header, err)
		}
	}
}

// TestIssuerIsHeld shows the check of iss, which is off unless it is asked for.
func TestIssuerIsHeld(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	g2, err := New(Config{KeysFile: g.cfg.KeysFile, Issuer: "https://id.example", Now: g.cfg.Now})
	if err != nil {
		t.Fatal(err)
	}
	for iss, ok := range map[string]bool{`"https://id.example"`: true, `"https://evil.example"`: false, "": false, "1": false} {
		if _, err := g2.Verify("JWT " + rawToken(i, goodHeader, claimsWith("iss", iss))); (err == nil) != ok {
			t.Errorf("iss %s: %v", iss, err)
		}
	}
}

// TestKeySets is a table of files that must not come into force, and of some that must.
func TestKeySets(t *testing.T) {
	i := newIssuer()
	keys := i.keys()
	with := func(k jwk, pairs ...string) []byte {
		changed := jwk{}
		for name, value := range k {
			changed[name] = value
		}
		for n := 0; n < len(pairs); n += 2 {
			changed[pairs[n]] = pairs[n+1]
		}
		return keySet(changed)
	}
	ed, ec, rs, hs := keys[0], keys[1], keys[2], keys[3]
	for name, data := range map[string][]byte{
		"empty file":               nil,
		"no JSON":                  []byte("keys"),
		"no keys":                  []byte(`{}`),
		"empty set":                []byte(`{"keys":[]}`),
		"kid twice":                keySet(ed, ed),
		"no kid twice":             keySet(jwk{"kty": "oct", "k": hs["k"]}, jwk{"kty": "oct", "k": hs["k"]}),
		"only for encryption":      with(ed, "use", "enc"),
		"unknown type":             with(ed, "kty", "AKP"),
		"Ed25519, other curve":     with(ed, "crv", "X25519"),
		"Ed25519, short":           with(ed, "x", b64(make([]byte, 31))),
		"Ed25519, other alg":       with(ed, "alg", "HS256"),
		"Ed25519, private":         with(ed, "d", "AAAA"),
		"EC, other curve":          with(ec, "crv", "P-384"),
		"EC, not on the curve":     with(ec, "y", b64(make([]byte, 32))),
		"EC, other alg":            with(ec, "alg", "ES384"),
		"RSA of 1024 bits":         with(rs, "n", b64(i.rsa.N.Bytes()[128:])),
		"RSA of 8192 bits":         with(rs, "n", b64(bytes.Repeat([]byte{0xff}, 1<<10))),
		"RSA, dear e":              with(rs, "e", b64([]byte{1, 0, 3})),
		"RSA of 64 k bits":         with(rs, "n", b64(bytes.Repeat([]byte{0xff}, 8<<10))),
		"RSA, e = 1":               with(rs, "e", "AQ"),
		"RSA, even e":              with(rs, "e", "Ag"),
		"RSA, even n":              with(rs, "n", b64(append(i.rsa.N.Bytes()[:255], 0))),
		"RSA, huge e":              with(rs, "e", b64([]byte{1, 0, 0, 0, 1})),
		"RSA, other alg":           with(rs, "alg", "RS512"),
		"secret of 31 bytes":       with(hs, "k", b64(i.secret[:31])),
		"secret, other alg":        with(hs, "alg", "HS512"),
		"secret, not base64":       with(hs, "k", "!"),
		"one weak among good ones": keySet(ed, jwk{"kty": "oct", "kid": "weak", "k": "AAAA"}),
	} {
		if _, err := parseKeys(data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	var many []jwk
	for n := range maxKeys + 1 {
		many = append(many, jwk{"kty": "oct", "kid": fmt.Sprint(n), "k": hs["k"]})
	}
	if _, err := parseKeys(keySet(many...)); err == nil {
		t.Error("too many keys: taken")
	}
	if _, err := parseKeys(keySet(many[1:]...)); err != nil {
		t.Errorf("as many keys as may be: %v", err)
	}
	encryption := jwk{"kty": "RSA", "use": "enc", "kid": "enc", "n": "AA", "e": "AQ"}
	if got, err := parseKeys(keySet(encryption, jwk{"kty": "AKP", "kid": "later"}, ed)); err != nil || len(got.keys) != 1 || got.passedOver != 2 {
		t.Errorf("keys for others: %d, %v", len(got.keys), err)
	}
}
