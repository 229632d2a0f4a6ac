package auth

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestReload shows that keys come and go with their file, and cached tokens with them.
func TestReload(t *testing.T) {
	i := newIssuer()
	g, c := newGate(t, i.keys()[0], i.keys()[3])
	token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	if _, err := g.Verify(token); err != nil {
		t.Fatal(err)
	}
	writeFile(t, g.cfg.KeysFile, keySet(i.keys()[3]))
	if _, err := g.Verify(token); err != nil {
		t.Errorf("within the poll interval: %v", err)
	}
	c.Advance(g.cfg.Poll)
	if _, err := g.Verify(token); err == nil {
		t.Error("accepted although its key is gone")
	}
	writeFile(t, g.cfg.KeysFile, keySet(i.keys()...))
	c.Advance(g.cfg.Poll)
	if _, err := g.Verify(token); err != nil {
		t.Errorf("key is back: %v", err)
	}
}

// TestBrokenReload shows that a broken file takes nothing away: the old keys stay, one line is logged, readiness says why.
func TestBrokenReload(t *testing.T) {
	i := newIssuer()
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "jwks.json")
	writeFile(t, path, keySet(i.keys()[0]))
	c := &clock{now: start}
	g, err := New(Config{KeysFile: path, Now: c.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	for name, breakIt := range map[string]func(){
		"malformed": func() { writeFile(t, path, []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)) },
		"gone":      func() { os.Remove(path) },
	} {
		log.Reset()
		breakIt()
		for range 5 {
			c.Advance(g.cfg.Poll)
			if _, err := g.Verify(token); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := g.Ready(); err == nil {
				t.Errorf("%s: ready", name)
			}
		}
		if n := strings.Count(log.String(), "keys not reloaded"); n != 1 || strings.Contains(log.String(), "c2VjcmV0") {
			t.Errorf("%s: logged %d times:\n%s", name, n, log.String())
		}
		if testutil.ToFloat64(g.metrics.broken) != 1 {
			t.Errorf("%s: not shown as broken", name)
		}
		writeFile(t, path, keySet(i.keys()[0]))
		c.Advance(g.cfg.Poll)
		if detail, err := g.Ready(); err != nil || detail != "1 keys" || testutil.ToFloat64(g.metrics.broken) != 0 {
			t.Errorf("%s: after repair %q, %v", name, detail, err)
		}
	}
}

func TestNewNeedsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	if _, err := New(Config{KeysFile: path}); err == nil {
		t.Error("no file: taken")
	}
	writeFile(t, path, bytes.Repeat([]byte(" "), maxKeysFile+1))
	if _, err := New(Config{KeysFile: path}); err == nil {
		t.Error("huge file: taken")
	}
}

// TestCacheExpires shows that a token passes no longer than it is valid, nor longer than the cache may hold it without
// looking again.
func TestCacheExpires(t *testing.T) {
	i := newIssuer()
	g, c := newGate(t, i.keys()...)
	token := "JWT " + signed(t, jwt.SigningMethodHS256, i.secret, map[string]any{"kid": "hs"}, claimsOf(map[string]any{"exp": start.Add(8 * time.Minute).Unix()}))
	verified := func() float64 { return testutil.ToFloat64(g.metrics.verified) }
	for step, want := range []float64{1, 1, 1, 2, 2} { // minutes 0, 2, 4, 6, 8-
		if _, err := g.Verify(token); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if got := verified(); got != want {
			t.Errorf("step %d: verified %v times, want %v", step, got, want)
		}
		c.Advance(2*time.Minute - time.Second)
	}
	c.Advance(time.Minute)
	if _, err := g.Verify(token); err == nil {
		t.Error("accepted after it expired")
	}
}

// TestCacheIsBounded shows that a flood of tokens neither grows the cache nor drives out one that is in use.
func TestCacheIsBounded(t *testing.T) {
	c := newCache(100)
	now := start
	inUse := [32]byte{255}
	c.put(inUse, Identity{Account: "demo"}, now.Add(time.Hour))
	for n := range 10_000 {
		c.put([32]byte{byte(n), byte(n >> 8), 1}, Identity{}, now.Add(time.Hour))
		if _, ok := c.get(inUse, now); !ok {
			t.Fatalf("gone after %d others", n)
		}
		if held := len(c.young) + len(c.old); held > 100 {
			t.Fatalf("%d tokens held", held)
		}
	}
}

func TestMetrics(t *testing.T) {
	i := newIssuer()
	reg := prometheus.NewRegistry()
	g, c := newGate(t, i.keys()...)
	g, err := New(Config{KeysFile: g.cfg.KeysFile, Now: c.Now, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	for _, header := range []string{token, token, "JWT x"} {
		g.Verify(header)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	err = testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP triggerd_ingress_tokens_total Tokens judged: cached (verified lately), verified, refused. Bad if refused rises for callers that are known: see keys_broken and their clocks.
# TYPE triggerd_ingress_tokens_total counter
triggerd_ingress_tokens_total{result="cached"} 1
triggerd_ingress_tokens_total{result="refused"} 1
triggerd_ingress_tokens_total{result="verified"} 1
`), "triggerd_ingress_tokens_total")
	if err != nil {
		t.Error(err)
	}
}
