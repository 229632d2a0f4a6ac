package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// counting is a signing method that counts the signatures it checks.
type counting struct {
	jwt.SigningMethod
	checks *int
}

func (c counting) Verify(text string, signature []byte, key any) error {
	*c.checks++
	return c.SigningMethod.Verify(text, signature, key)
}

// countChecks makes the gate's keys count.
func countChecks(g *Gate) *int {
	checks := new(int)
	for kid, k := range g.ring.Load().keys {
		g.ring.Load().keys[kid] = key{counting{k.method, checks}, k.material}
	}
	return checks
}

// maxAttackBytes is what refusing one token may allocate: a token of the largest size taken apart, and its names.
const maxAttackBytes = 64 << 10

// withoutCheck are the reasons that need no signature check. A token that is malformed may have shown that only in its claims, which are read after it.
var withoutCheck = []reason{reasonScheme, reasonTooLong, reasonHeader, reasonAlgorithm, reasonKey}

// TestAttacksAreCheap shows that no attack makes the gate ask its server or any other, check more than one signature, allocate much, log, or remember
// anything; and which of the reasons it is counted under.
func TestAttacksAreCheap(t *testing.T) {
	i := newIssuer()
	s := newKeyServer(t)
	s.serves("", i.keys()...)
	g, _, log := s.gate(t)
	checks := countChecks(g)
	g.cfg.Every = 1 // long overdue, and nobody runs the gate
	log.Reset()
	for name, token := range attacks(t, i) {
		token = strings.ReplaceAll(token, "http://127.0.0.1", s.URL)
		*checks = 0
		before := testutil.ToFloat64(g.metrics.refused)
		var err error
		spent := allocated(func() { _, err = g.Verify("JWT " + token) })
		if spent > maxAttackBytes+uint64(len(token)) { // the test's own copy
			t.Errorf("%s: allocated %d bytes", name, spent)
		}
		why := reasonOf(err)
		if *checks > 1 || *checks > 0 && slices.Contains(withoutCheck, why) {
			t.Errorf("%s: %d signatures checked, refused for %s", name, *checks, why)
		}
		if testutil.ToFloat64(g.metrics.refused) != before+1 {
			t.Errorf("%s: not counted as refused", name)
		}
	}
	if n := len(s.requests()); n != 1 {
		t.Errorf("the server was asked %d times, once when the gate was made", n)
	}
	if log.Len() > 0 || len(g.ring.Load().cache.young) > 0 {
		t.Errorf("%d tokens are remembered, log says %q", len(g.ring.Load().cache.young), log)
	}
}

// allocated is what f allocates, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestFlood shows that any number of strangers' tokens leaves nothing behind: no memory, no line in the log, no time series, no request, and no signature check.
func TestFlood(t *testing.T) {
	flood := 300_000
	if testing.Short() {
		flood = 10_000
	}
	i := newIssuer()
	s := newKeyServer(t)
	s.serves("", i.keys()...)
	reg, log := prometheus.NewRegistry(), &bytes.Buffer{}
	g, err := New(Config{KeysURL: s.URL, KeysCA: s.ca, Registerer: reg, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	checks := countChecks(g)
	log.Reset()
	claims := "." + b64([]byte(goodClaims(""))) + "." + b64(make([]byte, 64))
	send := func(n int) {
		header := fmt.Appendf(nil, `{"alg":"EdDSA","kid":"%d"}`, n)
		if _, err := g.Verify("JWT " + b64(header) + claims); err == nil {
			t.Fatal("passed")
		}
	}
	send(0)
	series, before := seriesOf(t, reg), live()
	for n := range flood {
		send(n + 1)
	}
	if grown := int64(live()) - int64(before); grown > 1<<20 {
		t.Errorf("%d bytes more are alive", grown)
	}
	if n := testutil.ToFloat64(g.metrics.reasons[reasonKey]); n != float64(flood+1) {
		t.Errorf("%v are counted as of an unknown key", n)
	}
	if n := seriesOf(t, reg); n != series || log.Len() > 0 || len(s.requests()) != 1 || *checks != 0 {
		t.Errorf("%d series instead of %d, %d bytes of log, %d requests, %d signatures checked", n, series, log.Len(), len(s.requests()), *checks)
	}
}

// live is the memory in use after a collection.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func seriesOf(t *testing.T, reg *prometheus.Registry) (n int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

// TestReasons shows which of the few reasons a refusal is counted under.
func TestReasons(t *testing.T) {
	i := newIssuer()
	path := filepath.Join(t.TempDir(), "jwks.json")
	writeFile(t, path, keySet(i.keys()...))
	c := &clock{now: start}
	g, err := New(Config{KeysFile: path, Issuer: "me", Now: c.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	mine := func(claims string) string {
		return "JWT " + rawToken(i, goodHeader, strings.TrimSuffix(claims, "}")+`,"iss":"me"}`)
	}
	for authorization, want := range map[string]reason{
		"":                                  reasonScheme,
		"Basic x":                           reasonScheme,
		"JWT " + strings.Repeat("x", 1<<20): reasonTooLong,
		"JWT x":                             reasonMalformed,
		"JWT " + rawToken(i, "[]", "{}"):    reasonMalformed,
		"JWT " + rawToken(i, "{", "{}"):     reasonMalformed,
		mine(goodClaims(`,"x":1,"x":1`)):    reasonMalformed,
		"JWT " + rawToken(i, `{"crit":[]}`, ""+"{}"):                 reasonHeader,
		"JWT " + rawToken(i, `{"typ":"x"}`, "{}"):                    reasonHeader,
		"JWT " + rawToken(i, `{"alg":"EdDSA","kid":"x"}`, "{}"):      reasonKey,
		"JWT " + rawToken(i, `{"alg":"EdDSA","kid":"hs"}`, "{}"):     reasonAlgorithm,
		"JWT " + hmacWith(i, "hs", nil):                              reasonSignature,
		mine(claimsWith("exp", "")):                                  reasonClaims,
		mine(claimsWith("exp", "1.5")):                               reasonClaims,
		mine(claimsWith("sub", `""`)):                                reasonClaims,
		mine(claimsWith("exp", seconds(-time.Hour))):                 reasonExpired,
		mine(claimsWith("nbf", seconds(time.Hour))):                  reasonNotYet,
		mine(claimsWith("iat", seconds(time.Hour))):                  reasonNotYet,
		mine(claimsWith("aud", `"x"`)):                               reasonAudience,
		"JWT " + rawToken(i, goodHeader, claimsWith("iss", `"you"`)): reasonIssuer,
	} {
		before := testutil.ToFloat64(g.metrics.reasons[want])
		if _, err := g.Verify(authorization); err == nil || testutil.ToFloat64(g.metrics.reasons[want]) != before+1 {
			t.Errorf("%.40q: %v, not counted as %s", authorization, err, want)
		}
	}
	if _, err := g.Verify(mine(goodClaims(""))); err != nil {
		t.Error(err)
	}
	// Alerts are written against these names.
	want := []reason{"scheme", "too_long", "malformed", "header", "algorithm", "unknown_key", "signature", "claims", "expired", "not_yet_valid", "audience", "issuer", "revoked"}
	if !slices.Equal(reasons, want) {
		t.Errorf("reasons %v", reasons)
	}
}

// BenchmarkAttack refuses each attack. The dearest ones are those whose signature is good.
func BenchmarkAttack(b *testing.B) {
	i := newIssuer()
	g, _ := newGate(b, i.keys()...)
	for name, token := range attacks(b, i) {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			header := "JWT " + token
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Verify(header); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
