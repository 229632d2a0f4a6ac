package auth

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/ingress/internal/revocation"
)

// revokingGate is a gate with a list of revoked tokens that tests change.
func revokingGate(t *testing.T) (g *Gate, revoked map[revocation.ID]bool) {
	t.Helper()
	revoked = map[revocation.ID]bool{}
	path := filepath.Join(t.TempDir(), "jwks.json")
	writeFile(t, path, keySet(newIssuer().keys()...))
	c := &clock{now: start}
	g, err := New(Config{KeysFile: path, Now: c.Now, Logger: slog.New(slog.DiscardHandler), Revoked: func(jti revocation.ID, now time.Time) bool {
		if now != start {
			t.Errorf("asked for %s", now)
		}
		return revoked[jti]
	}})
	if err != nil {
		t.Fatal(err)
	}
	return g, revoked
}

// TestRevoked shows that a revoked token is refused at once, whether it was seen before or not, and passes again when that is undone. Others of the account
// are not touched.
func TestRevoked(t *testing.T) {
	g, revoked := revokingGate(t)
	i := newIssuer()
	token := "JWT " + rawToken(i, goodHeader, goodClaims(`,"jti":"crm-1"`))
	other := "JWT " + rawToken(i, goodHeader, goodClaims(`,"jti":"crm-2"`))
	nameless := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	for _, step := range []struct {
		revoked, passes bool
	}{{true, false}, {false, true}, {true, false}, {false, true}} {
		revoked[revocation.Of("crm-1")] = step.revoked
		if _, err := g.Verify(token); (err == nil) != step.passes || !step.passes && !errors.Is(err, errRevoked) {
			t.Errorf("%+v: %v", step, err)
		}
		for _, token := range []string{other, nameless} {
			if _, err := g.Verify(token); err != nil {
				t.Error(err)
			}
		}
	}
	revoked[revocation.Of("")] = true
	if _, err := g.Verify(nameless); err != nil {
		t.Errorf("a token without a jti: %v", err)
	}
	if n := testutil.ToFloat64(g.metrics.reasons[reasonRevoked]); n != 2 {
		t.Errorf("counted %v", n)
	}
	if n := testutil.ToFloat64(g.metrics.verified); n != 2 {
		t.Errorf("%v signatures led to something: a revoked token is not forgotten, and not counted as passed", n)
	}
}

// TestSpellingsOfAName shows that a jti is what it means, however it is spelled.
func TestSpellingsOfAName(t *testing.T) {
	g, revoked := revokingGate(t)
	i := newIssuer()
	revoked[revocation.Of("crm-1")] = true
	for _, spelled := range []string{`"jti":"crm-1"`, `"jti":"\u0063rm-1"`, `"\u006ati":"crm-1"`, `"jti" : "crm\u002d1" `} {
		if _, err := g.Verify("JWT " + rawToken(i, goodHeader, goodClaims(","+spelled))); !errors.Is(err, errRevoked) {
			t.Errorf("%s: %v", spelled, err)
		}
	}
	for _, bad := range []string{`""`, `1`, `null`, `["crm-1"]`, `"` + strings.Repeat("x", revocation.MaxTokenID+1) + `"`, `"\ud800"`} {
		if _, err := g.Verify("JWT " + rawToken(i, goodHeader, goodClaims(`,"jti":`+bad))); !errors.Is(err, ErrToken) || errors.Is(err, errRevoked) {
			t.Errorf("jti %s: %v", bad, err)
		}
	}
}

// TestInspect shows what a revoker sees of a token, whoever signed it.
func TestInspect(t *testing.T) {
	k := newKeysDir(t)
	token, err := k.signer(SigningKeyFile).Sign(Order{Account: "demo", Scope: "trigger", TTL: time.Hour, TokenID: "crm-1", Audience: "other", Issuer: "me"})
	if err != nil {
		t.Fatal(err)
	}
	jti, expires, err := Inspect(token)
	if left := time.Until(expires); jti != "crm-1" || left < 50*time.Minute || left > time.Hour || err != nil {
		t.Errorf("%q, %s, %v", jti, expires, err)
	}
	if jti, expires, err := Inspect(rawToken(newIssuer(), "{}", `{"sub":"x"}`)); jti != "" || !expires.IsZero() || err != nil {
		t.Errorf("%q, %s, %v", jti, expires, err)
	}
	for _, bad := range []string{"", "a.b.c", strings.Repeat("x", DefaultMaxToken+1)} {
		if _, _, err := Inspect(bad); err == nil {
			t.Errorf("%.10q: taken", bad)
		}
	}
	if _, err := k.signer(SigningKeyFile).Sign(Order{Account: "demo", Scope: "trigger", TTL: time.Hour, TokenID: strings.Repeat("x", 257)}); err == nil {
		t.Error("a jti is signed that a gate refuses")
	}
}
