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

	"github.com/golang-jwt/jwt/v5"
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

// TestAttacks is a table of tokens that must not pass: every one of them is signed as well as its forger could. The first row passes,
// so that the others cannot fail for a reason that they all share.
func TestAttacks(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	good := rawToken(i, goodHeader, goodClaims(""))
	if _, err := g.Verify("JWT " + good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	withHeader := func(h string) string { return rawToken(i, h, goodClaims("")) }
	withClaims := func(c string) string { return rawToken(i, goodHeader, c) }
	for name, token := range map[string]string{
		"alg none, no signature":    b64([]byte(`{"alg":"none","kid":"ed"}`)) + "." + parts[1] + ".",
		"alg none, some signature":  b64([]byte(`{"alg":"none","kid":"ed"}`)) + "." + parts[1] + "." + parts[2],
		"alg None":                  withHeader(`{"alg":"None","kid":"ed"}`),
		"alg nOnE":                  withHeader(`{"alg":"nOnE","kid":"ed"}`),
		"alg empty":                 withHeader(`{"alg":"","kid":"ed"}`),
		"alg missing":               withHeader(`{"kid":"ed"}`),
		"alg in another case":       withHeader(`{"alg":"eddsa","kid":"ed"}`),
		"alg of another type":       withHeader(`{"alg":["EdDSA"],"kid":"ed"}`),
		"alg of another key":        withHeader(`{"alg":"EdDSA","kid":"rs"}`),
		"alg not the key's":         withHeader(`{"alg":"HS256","kid":"ed"}`),
		"alg twice":                 withHeader(`{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}`),
		"kid missing":               withHeader(`{"alg":"EdDSA"}`),
		"kid empty":                 withHeader(`{"alg":"EdDSA","kid":""}`),
		"kid unknown":               withHeader(`{"alg":"EdDSA","kid":"other"}`),
		"kid is a path":             withHeader(`{"alg":"EdDSA","kid":"../../../../dev/null"}`),
		"kid is a query":            withHeader(`{"alg":"EdDSA","kid":"x' UNION SELECT 'key"}`),
		"kid is a URL":              withHeader(`{"alg":"EdDSA","kid":"http://127.0.0.1/key"}`),
		"kid is a number":           withHeader(`{"alg":"EdDSA","kid":1}`),
		"kid twice":                 withHeader(`{"alg":"EdDSA","kid":"ed","kid":"ed"}`),
		"kid twice, escaped":        withHeader(`{"alg":"EdDSA","kid":"ed","\u006bid":"ed"}`),
		"jku":                       withHeader(`{"alg":"EdDSA","kid":"ed","jku":"http://127.0.0.1/jwks.json"}`),
		"x5u":                       withHeader(`{"alg":"EdDSA","kid":"ed","x5u":"http://127.0.0.1/cert.pem"}`),
		"x5c":                       withHeader(`{"alg":"EdDSA","kid":"ed","x5c":["MIIB"]}`),
		"jwk":                       withHeader(`{"alg":"EdDSA","kid":"ed","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}`),
		"crit":                      withHeader(`{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}`),
		"crit empty":                withHeader(`{"alg":"EdDSA","kid":"ed","crit":[]}`),
		"payload not encoded":       withHeader(`{"alg":"EdDSA","kid":"ed","b64":false}`),
		"compressed":                withHeader(`{"alg":"EdDSA","kid":"ed","zip":"DEF"}`),
		"encrypted":                 withHeader(`{"alg":"EdDSA","kid":"ed","enc":"A256GCM"}`),
		"typ of another use":        withHeader(`{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}`),
		"header no object":          withHeader(`[]`),
		"header trailing":           withHeader(goodHeader + ` {}`),
		"header in UTF-16":          withHeader("{\x00\"\x00a\x00"),
		"header deep":               withHeader(`{"alg":"EdDSA","kid":"ed","x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`),
		"claims changed":            parts[0] + "." + b64([]byte(goodClaims(`,"x":1`))) + "." + parts[2],
		"signature missing":         parts[0] + "." + parts[1] + ".",
		"signature cut":             good[:len(good)-4],
		"signature of zeros":        parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)),
		"signature padded":          good + "==",
		"signature, stray bits":     good[:len(good)-1] + stray(good[len(good)-1]),
		"line break in signature":   good[:len(good)-9] + "\n" + good[len(good)-9:],
		"line break inside":         good[:50] + "\n" + good[50:],
		"space inside":              good[:50] + " " + good[50:],
		"standard base64":           good + "+/",
		"two segments":              parts[0] + "." + parts[1],
		"four segments":             good + ".x",
		"encrypted token":           "a.b.c.d.e",
		"nothing":                   "",
		"only dots":                 "..",
		"100 k dots":                strings.Repeat(".", 100_000),
		"1 MB":                      strings.Repeat("x", 1<<20),
		"1 MB, well-formed":         rawToken(i, goodHeader, goodClaims(`,"x":"`+strings.Repeat("x", 1<<20)+`"`)),
		"just over the limit":       rawToken(i, goodHeader, goodClaims(`,"x":"`+strings.Repeat("x", 6<<10)+`"`)),
		"aud wrong":                 withClaims(claimsWith("aud", `"trigger"`)),
		"aud in another case":       withClaims(claimsWith("aud", `"Triggerd"`)),
		"aud missing":               withClaims(claimsWith("aud", "")),
		"aud empty":                 withClaims(claimsWith("aud", `[]`)),
		"aud of numbers":            withClaims(claimsWith("aud", `["triggerd",1]`)),
		"aud nested":                withClaims(claimsWith("aud", `[["triggerd"]]`)),
		"exp missing":               withClaims(claimsWith("exp", "")),
		"exp null":                  withClaims(claimsWith("exp", "null")),
		"exp past":                  withClaims(claimsWith("exp", seconds(-31*time.Second))),
		"exp zero":                  withClaims(claimsWith("exp", "0")),
		"exp negative":              withClaims(claimsWith("exp", "-1")),
		"exp huge":                  withClaims(claimsWith("exp", "1e400")),
		"exp beyond 9999":           withClaims(claimsWith("exp", "99999999999999")),
		"exp as text":               withClaims(claimsWith("exp", `"`+seconds(time.Hour)+`"`)),
		"exp as a boolean":          withClaims(claimsWith("exp", "true")),
		"exp as a list":             withClaims(claimsWith("exp", "["+seconds(time.Hour)+"]")),
		"nbf future":                withClaims(claimsWith("nbf", seconds(31*time.Second))),
		"nbf absurd":                withClaims(claimsWith("nbf", "1e300")),
		"nbf as text":               withClaims(claimsWith("nbf", `"0"`)),
		"iat future":                withClaims(claimsWith("iat", seconds(31*time.Second))),
		"iat negative":              withClaims(claimsWith("iat", "-5")),
		"sub missing":               withClaims(claimsWith("sub", "")),
		"sub empty":                 withClaims(claimsWith("sub", `""`)),
		"sub a number":              withClaims(claimsWith("sub", `1`)),
		"sub with NUL":              withClaims(claimsWith("sub", `"demo\u0000other"`)),
		"sub with line feed":        withClaims(claimsWith("sub", `"demo\nother"`)),
		"sub long":                  withClaims(claimsWith("sub", `"`+strings.Repeat("x", 257)+`"`)),
		"sub, lone surrogate":       withClaims(claimsWith("sub", `"\ud800"`)),
		"scope a list":              withClaims(claimsWith("scope", `["trigger"]`)),
		"sub twice":                 withClaims(goodClaims(`,"sub":"other"`)),
		"sub twice, escaped":        withClaims(goodClaims(`,"\u0073ub":"other"`)),
		"exp twice":                 withClaims(goodClaims(`,"exp":9999999999`)),
		"an unknown claim twice":    withClaims(goodClaims(`,"x":1,"x":1`)),
		"claims no object":          withClaims(`"demo"`),
		"claims trailing":           withClaims(goodClaims("") + "{}"),
		"claims empty":              withClaims(`{}`),
		"claims deep":               withClaims(goodClaims(`,"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000))),
		"claims deep and unclosed":  withClaims(`{"x":` + strings.Repeat("[", 4000)),
		"claims not UTF-8":          withClaims(goodClaims(",\"x\":\"\xff\"")),
		"many claims":               withClaims(goodClaims(manyClaims(100))),
		"public key as HMAC secret": confused(t, i),
		"another key":               signed(t, jwt.SigningMethodHS256, []byte("another secret of 32 bytes ......"), map[string]any{"kid": "hs"}, claimsOf(nil)),
		"HS512 with the HS256 key":  signed(t, jwt.SigningMethodHS512, i.secret, map[string]any{"kid": "hs"}, claimsOf(nil)),
		"PS256 with the RS256 key":  signed(t, jwt.SigningMethodPS256, i.rsa, map[string]any{"kid": "rs"}, claimsOf(nil)),
		"RS512 with the RS256 key":  signed(t, jwt.SigningMethodRS512, i.rsa, map[string]any{"kid": "rs"}, claimsOf(nil)),
	} {
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
func confused(t *testing.T, i *issuer) string {
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
		"no typ":               rawToken(i, `{"alg":"EdDSA","kid":"ed"}`, goodClaims("")),
		"access token":         rawToken(i, `{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`, goodClaims("")),
		"unknown header":       rawToken(i, `{"alg":"EdDSA","kid":"ed","x":{"y":[1]}}`, goodClaims("")),
		"several audiences":    rawToken(i, goodHeader, claimsWith("aud", `["other","triggerd"]`)),
		"no scope":             rawToken(i, goodHeader, claimsWith("scope", "")),
		"unknown claims":       rawToken(i, goodHeader, goodClaims(`,"realm_access":{"roles":["a","b"]},"x":1e400`)),
		"fractions of seconds": rawToken(i, goodHeader, claimsWith("exp", fmt.Sprintf("%d.75", start.Add(time.Minute).Unix()))),
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
	encryption := jwk{"kty": "RSA", "use": "enc", "kid": "enc", "n": "AA", "e": "AQ"}
	if got, err := parseKeys(keySet(encryption, jwk{"kty": "AKP", "kid": "later"}, ed)); err != nil || len(got) != 1 {
		t.Errorf("keys for others: %d, %v", len(got), err)
	}
}
