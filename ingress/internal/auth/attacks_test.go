package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// attacks are tokens that must not pass, by name. Every one of them is signed as well as its forger could.
func attacks(t testing.TB, i *issuer) map[string]string {
	all := map[string]string{}
	for _, some := range []map[string]string{
		mixedAttacks(t, i), headerAttacks(t, i), claimAttacks(i), timeAttacks(i), spellingAttacks(i), signatureAttacks(t, i),
	} {
		for name := range some {
			if _, twice := all[name]; twice {
				t.Fatalf("two attacks have the name %q", name)
			}
		}
		maps.Copy(all, some)
	}
	return all
}

// mixedAttacks are the classics.
func mixedAttacks(t testing.TB, i *issuer) map[string]string {
	good := rawToken(i, goodHeader, goodClaims(""))
	parts := strings.Split(good, ".")
	withHeader := func(h string) string { return rawToken(i, h, goodClaims("")) }
	withClaims := func(c string) string { return rawToken(i, goodHeader, c) }
	return map[string]string{
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
	}
}

// headerAttacks ask the gate to verify otherwise than it would, or to look elsewhere.
func headerAttacks(t testing.TB, i *issuer) map[string]string {
	all := map[string]string{
		"HMAC with the Ed25519 key": hmacWith(i, "ed", i.ed.Public().(ed25519.PublicKey)),
		"HMAC with the EC key":      hmacWith(i, "ec", point(i)),
		"HMAC with the modulus":     hmacWith(i, "rs", i.rsa.N.Bytes()),
		"HMAC with nothing":         hmacWith(i, "hs", nil),
		"HMAC with the kid":         hmacWith(i, "hs", []byte("hs")),
	}
	for name, members := range map[string]string{
		"alg NONE":               `"alg":"NONE","kid":"ed"`,
		"alg none, escaped":      `"alg":"\u006eone","kid":"ed"`,
		"alg none with a space":  `"alg":"none ","kid":"ed"`,
		"alg null":               `"alg":null,"kid":"ed"`,
		"alg a number":           `"alg":0,"kid":"ed"`,
		"alg with NUL":           `"alg":"EdDSA\u0000","kid":"ed"`,
		"alg of the newer name":  `"alg":"Ed25519","kid":"ed"`,
		"alg RS256 for Ed25519":  `"alg":"RS256","kid":"ed"`,
		"alg ES256K":             `"alg":"ES256K","kid":"ec"`,
		"alg twice, cases":       `"alg":"EdDSA","ALG":"none","kid":"ed"`,
		"alg in capitals":        `"ALG":"EdDSA","kid":"ed"`,
		"kid with NUL":           `"alg":"EdDSA","kid":"ed\u0000"`,
		"kid behind NUL":         `"alg":"EdDSA","kid":"\u0000ed"`,
		"kid with line feed":     `"alg":"EdDSA","kid":"ed\n"`,
		"kid in capitals":        `"alg":"EdDSA","kid":"ED"`,
		"kid with a space":       `"alg":"EdDSA","kid":" ed"`,
		"kid up and down":        `"alg":"EdDSA","kid":"x/../ed"`,
		"kid an absolute path":   `"alg":"EdDSA","kid":"/proc/self/environ"`,
		"kid a Windows path":     `"alg":"EdDSA","kid":"..\\..\\ed"`,
		"kid an encoded path":    `"alg":"EdDSA","kid":"%2e%2e%2fed"`,
		"kid a command":          `"alg":"EdDSA","kid":"|/bin/true"`,
		"kid an https URL":       `"alg":"EdDSA","kid":"https://127.0.0.1:1/key"`,
		"kid a file URL":         `"alg":"EdDSA","kid":"file:///dev/null"`,
		"kid long":               `"alg":"EdDSA","kid":"` + strings.Repeat("ed", 2000) + `"`,
		"kid null":               `"alg":"EdDSA","kid":null`,
		"kid an object":          `"alg":"EdDSA","kid":{"ed":1}`,
		"kid a list":             `"alg":"EdDSA","kid":["ed"]`,
		"kid twice, cases":       `"alg":"EdDSA","kid":"ed","Kid":"ed"`,
		"kid with a Kelvin sign": `"alg":"EdDSA","kid":"ed","\u212aid":"ed"`,
		"jku null":               `"alg":"EdDSA","kid":"ed","jku":null`,
		"jku escaped":            `"alg":"EdDSA","kid":"ed","\u006aku":"http://127.0.0.1/"`,
		"jku in capitals":        `"alg":"EdDSA","kid":"ed","JKU":"http://127.0.0.1/"`,
		"x5t":                    `"alg":"EdDSA","kid":"ed","x5t":"AAAA"`,
		"x5t#S256":               `"alg":"EdDSA","kid":"ed","x5t#S256":"AAAA"`,
		"X5U in capitals":        `"alg":"EdDSA","kid":"ed","X5U":"http://127.0.0.1/"`,
		"crit in another case":   `"alg":"EdDSA","kid":"ed","Crit":["exp"]`,
		"crit null":              `"alg":"EdDSA","kid":"ed","crit":null`,
		"typ JWE":                `"alg":"EdDSA","kid":"ed","typ":"JWE"`,
		"typ a number":           `"alg":"EdDSA","kid":"ed","typ":1`,
		"typ null":               `"alg":"EdDSA","kid":"ed","typ":null`,
		"typ of an ID token":     `"alg":"EdDSA","kid":"ed","typ":"id+jwt"`,
		"typ twice, cases":       `"alg":"EdDSA","kid":"ed","typ":"JWT","TYP":"dpop+jwt"`,
		"an unknown name twice":  `"alg":"EdDSA","kid":"ed","x":1,"X":2`,
		"many header members":    `"alg":"EdDSA","kid":"ed"` + manyClaims(100),
		"header NaN":             `"alg":"EdDSA","kid":"ed","x":NaN`,
	} {
		all[name] = rawToken(i, "{"+members+"}", goodClaims(""))
	}
	return all
}

// hmacWith signs with what everybody knows, as if it were a secret.
func hmacWith(_ *issuer, kid string, secret []byte) string {
	s := b64([]byte(`{"alg":"HS256","kid":"`+kid+`"}`)) + "." + b64([]byte(goodClaims("")))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(s))
	return s + "." + b64(mac.Sum(nil))
}

func point(i *issuer) []byte {
	data, _ := i.ec.PublicKey.Bytes()
	return data
}

// claimAttacks are signed with a good key, for other uses or for readers that are less strict.
func claimAttacks(i *issuer) map[string]string {
	all := map[string]string{}
	for name, claims := range map[string]string{
		"aud with a space":        claimsWith("aud", `"triggerd "`),
		"aud with NUL":            claimsWith("aud", `"triggerd\u0000"`),
		"aud null":                claimsWith("aud", `null`),
		"aud an object":           claimsWith("aud", `{"triggerd":1}`),
		"aud a list of null":      claimsWith("aud", `[null,"triggerd"]`),
		"aud of many others":      claimsWith("aud", `[`+strings.TrimSuffix(strings.Repeat(`"x",`, 1000), ",")+`]`),
		"sub null":                claimsWith("sub", `null`),
		"sub a list":              claimsWith("sub", `["demo"]`),
		"sub with DEL":            claimsWith("sub", `"demo\u007f"`),
		"sub twice, cases":        goodClaims(`,"SUB":"other"`),
		"sub twice, long s":       goodClaims(`,"\u017fub":"other"`),
		"sub in capitals":         strings.Replace(goodClaims(""), `"sub"`, `"SUB"`, 1),
		"exp twice, cases":        goodClaims(`,"Exp":99999999999`),
		"aud twice, escaped":      goodClaims(`,"\u0061ud":"other"`),
		"scope twice, cases":      goodClaims(`,"Scope":"admin"`),
		"nbf in capitals":         goodClaims(`,"NBF":99999999999`),
		"scope null":              claimsWith("scope", `null`),
		"scope an object":         claimsWith("scope", `{"admin":true}`),
		"an unknown twice, cases": goodClaims(`,"x":1,"X":1`),
		"jti a number":            goodClaims(`,"jti":7`),
		"jti empty":               goodClaims(`,"jti":""`),
		"jti twice":               goodClaims(`,"jti":"a","jti":"b"`),
		"jti long":                goodClaims(`,"jti":"` + strings.Repeat("x", 257) + `"`),
		"claims with a mark":      "\ufeff" + goodClaims(""),
		"claims a list":           "[" + goodClaims("") + "]",
		"claims null":             "null",
		"claims in UTF-16":        "{\x00\"\x00s\x00",
		"claims cut off":          strings.TrimSuffix(goodClaims(""), "}"),
		"claims with a comment":   goodClaims("/**/"),
		"claims with a comma":     goodClaims(","),
		"a token in the claims":   rawToken(i, goodHeader, goodClaims("")),
	} {
		all[name] = rawToken(i, goodHeader, claims)
	}
	return all
}

// timeAttacks give exp, nbf and iat every value that is no whole number of seconds since 1970 until the year 9999.
func timeAttacks(i *issuer) map[string]string {
	all := map[string]string{}
	at := start.Add(time.Hour).Unix()
	for spelled, value := range map[string]string{
		"negative":       "-1",
		"minus zero":     "-0",
		"a fraction":     fmt.Sprintf("%d.5", at),
		"point zero":     fmt.Sprintf("%d.0", at),
		"an exponent":    fmt.Sprintf("%de0", at),
		"1e400":          "1e400",
		"1e-400":         "1e-400",
		"max int64":      "9223372036854775807",
		"over int64":     "9223372036854775808",
		"over uint64":    "18446744073709551616",
		"wraps to later": new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 64), big.NewInt(at)).String(),
		"milliseconds":   fmt.Sprintf("%d000000", at),
		"4000 digits":    strings.Repeat("9", 4000),
		"4000 zeros":     strings.Repeat("0", 4000),
		"NaN":            "NaN",
		"text NaN":       `"NaN"`,
		"Infinity":       "Infinity",
		"hexadecimal":    "0x7fffffff",
		"a plus":         fmt.Sprintf("+%d", at),
		"underscores":    "9_999_999_999",
		"text":           fmt.Sprintf(`"%d"`, at),
		"a date":         `"2030-01-01T00:00:00Z"`,
		"true":           "true",
		"null":           "null",
		"a list":         fmt.Sprintf("[%d]", at),
		"an object":      `{}`,
	} {
		for _, claim := range []string{"exp", "nbf", "iat"} {
			all["time "+claim+" "+spelled] = rawToken(i, goodHeader, claimsWith(claim, value))
		}
	}
	return all
}

// spellingAttacks are a good token, spelled otherwise: one token has one spelling.
func spellingAttacks(i *issuer) map[string]string {
	good := rawToken(i, goodHeader, goodClaims(""))
	parts := strings.Split(good, ".")
	join := func(h, c, s string) string { return h + "." + c + "." + s }
	// With spaces behind them, so that bits are left over.
	header, claims := b64([]byte(goodHeader+pad(len(goodHeader)))), b64([]byte(goodClaims("")+pad(len(goodClaims("")))))
	bend := func(s string) string { return s[:len(s)-1] + stray(s[len(s)-1]) }
	return map[string]string{
		"spelling: header padded":          spelled(i, header+"==", claims),
		"spelling: claims padded":          spelled(i, header, claims+"=="),
		"spelling: header, stray bits":     spelled(i, bend(header), claims),
		"spelling: claims, stray bits":     spelled(i, header, bend(claims)),
		"spelling: header with tab":        spelled(i, "\t"+header, claims),
		"spelling: header with LF":         spelled(i, header+"\n", claims),
		"spelling: claims with CR":         spelled(i, header, claims+"\r"),
		"spelling: claims with LF inside":  spelled(i, header, claims[:9]+"\n"+claims[9:]),
		"spelling: claims, other alphabet": spelled(i, header, b64([]byte(goodClaims(`,"x":"\u00bf\u00bf?"`)))+"+"),
		"spelling: NUL at the end":         good + "\x00",
		"spelling: NUL inside":             join(parts[0]+"\x00", parts[1], parts[2]),
		"spelling: escaped dots":           join(parts[0], "%2E", parts[2]),
		"spelling: other dots":             strings.ReplaceAll(good, ".", "\uff0e"),
		"spelling: quoted":                 `"` + good + `"`,
		"spelling: an empty segment first": "." + good,
		"spelling: an empty segment last":  good + ".",
		"spelling: no claims":              join(parts[0], "", parts[2]),
		"spelling: no header":              join("", parts[1], parts[2]),
		"spelling: turned around":          join(parts[1], parts[0], parts[2]),
		"spelling: 8 k dots":               strings.Repeat(".", 8000),
		"spelling: 4 k segments":           strings.Repeat("x.", 4000),
		"spelling: not UTF-8":              "\xff.\xff.\xff",
		"spelling: JSON":                   `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	}
}

// spelled signs a header and claims as they are spelled.
func spelled(i *issuer, header, claims string) string {
	s := header + "." + claims
	return s + "." + b64(ed25519.Sign(i.ed, []byte(s)))
}

// pad makes a length that leaves bits over in base64.
func pad(n int) string { return strings.Repeat(" ", (4-n%3)%3) }

// signatureAttacks have the right key's name and something else for a signature.
func signatureAttacks(t testing.TB, i *issuer) map[string]string {
	all := map[string]string{}
	add := func(kid, alg, name string, signature []byte) {
		s := b64([]byte(`{"alg":"`+alg+`","kid":"`+kid+`"}`)) + "." + b64([]byte(goodClaims("")))
		all["signature "+alg+": "+name] = s + "." + b64(signature)
	}
	for kid, alg := range map[string]string{"ed": "EdDSA", "ec": "ES256", "rs": "RS256", "hs": "HS256"} {
		for _, n := range []int{1, 31, 32, 33, 63, 64, 65, 96, 128, 255, 256, 257, 512, 4000} {
			add(kid, alg, fmt.Sprintf("%d zeros", n), make([]byte, n))
			add(kid, alg, fmt.Sprintf("%d ones", n), bytes.Repeat([]byte{0xff}, n))
		}
	}
	signedText := []byte(b64([]byte(`{"alg":"ES256","kid":"ec"}`)) + "." + b64([]byte(goodClaims(""))))
	sum := sha256.Sum256(signedText)
	r, s, err := ecdsa.Sign(rand.Reader, i.ec, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := i.ec.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	pair := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	zero, one := new(big.Int), big.NewInt(1)
	add("ec", "ES256", "DER", der)
	add("ec", "ES256", "r = 0", pair(zero, s))
	add("ec", "ES256", "s = 0", pair(r, zero))
	add("ec", "ES256", "r = s = 1", pair(one, one))
	add("ec", "ES256", "r = n", pair(n, s))
	add("ec", "ES256", "s = n", pair(r, n))
	add("ec", "ES256", "r = s = n", pair(n, n))
	add("ec", "ES256", "turned around", pair(s, r))
	add("ec", "ES256", "one byte more", append(pair(r, s), 0))
	add("ec", "ES256", "one byte less", pair(r, s)[:63])
	add("ed", "EdDSA", "s + order", malleable(i))
	return all
}

// malleable is a good Ed25519 signature with the group's order added to s, which a careless verifier takes too.
func malleable(i *issuer) []byte {
	s := []byte(b64([]byte(`{"alg":"EdDSA","kid":"ed"}`)) + "." + b64([]byte(goodClaims(""))))
	sig := ed25519.Sign(i.ed, s)
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))
	sum := new(big.Int).Add(new(big.Int).SetBytes(reversed(sig[32:])), order)
	return append(sig[:32:32], reversed(sum.FillBytes(make([]byte, 32)))...)
}

func reversed(data []byte) []byte {
	out := make([]byte, len(data))
	for i, b := range data {
		out[len(data)-1-i] = b
	}
	return out
}
