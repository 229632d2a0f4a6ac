package auth

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// TestReload shows that keys come and go with their file, and cached tokens with them, once the file is looked at again and not before.
func TestReload(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()[0], i.keys()[3])
	token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	if _, err := g.Verify(token); err != nil {
		t.Fatal(err)
	}
	writeFile(t, g.cfg.KeysFile, keySet(i.keys()[3]))
	if _, err := g.Verify(token); err != nil {
		t.Errorf("before it is looked at: %v", err)
	}
	g.reload(t.Context())
	if _, err := g.Verify(token); err == nil {
		t.Error("accepted although its key is gone")
	}
	writeFile(t, g.cfg.KeysFile, keySet(i.keys()...))
	g.reload(t.Context())
	if _, err := g.Verify(token); err != nil {
		t.Errorf("key is back: %v", err)
	}
}

// TestRunReloads shows that keys are looked at every Config.Every, and that nothing goes on when ctx ends.
func TestRunReloads(t *testing.T) {
	i := newIssuer()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "jwks.json")
		writeFile(t, path, keySet(i.keys()[0]))
		g, err := New(Config{KeysFile: path, Every: 7 * time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); g.Run(ctx) }()
		writeFile(t, path, keySet(i.keys()[0], i.keys()[3]))
		keys := func() int { synctest.Wait(); return len(g.ring.Load().keys) }
		await(6999 * time.Millisecond)
		if n := keys(); n != 1 {
			t.Errorf("before its time: %d keys", n)
		}
		await(time.Millisecond)
		if n := keys(); n != 2 {
			t.Errorf("at its time: %d keys", n)
		}
		cancel()
		<-ended
	})
}

// await lets time pass in a bubble.
func await(d time.Duration) { <-time.After(d) }

// TestSameDocumentKeepsTheCache shows that a source that says the same again does not cost the verified tokens.
func TestSameDocumentKeepsTheCache(t *testing.T) {
	i := newIssuer()
	g, _ := newGate(t, i.keys()...)
	token := "JWT " + rawToken(i, goodHeader, goodClaims(""))
	for range 3 {
		if _, err := g.Verify(token); err != nil {
			t.Fatal(err)
		}
		writeFile(t, g.cfg.KeysFile, keySet(i.keys()...))
		g.reload(t.Context())
	}
	if n := testutil.ToFloat64(g.metrics.verified); n != 1 {
		t.Errorf("verified %v times", n)
	}
}

// TestBrokenReload shows that a broken file takes nothing away: the old keys stay, one line is logged, readiness and metrics say why and for how long.
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
		g.reloads.trouble = telemetry.Trouble{} // or it would keep silent for a while
		breakIt()
		for n := range 5 {
			c.Advance(time.Second)
			g.reload(t.Context())
			if _, err := g.Verify(token); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if detail, err := g.Ready(); err != nil || !strings.Contains(detail, "the last good ones") {
				t.Errorf("%s: %q, %v", name, detail, err)
			}
			if age, _ := g.age(); age != time.Duration(n+1)*time.Second {
				t.Errorf("%s: keys are %s old", name, age)
			}
		}
		if n := strings.Count(log.String(), "keys not reloaded"); n != 1 || strings.Contains(log.String(), "c2VjcmV0") {
			t.Errorf("%s: logged %d times:\n%s", name, n, log.String())
		}
		if testutil.ToFloat64(g.metrics.broken) != 1 {
			t.Errorf("%s: not shown as broken", name)
		}
		writeFile(t, path, keySet(i.keys()[0]))
		g.reload(t.Context())
		if detail, err := g.Ready(); err != nil || detail != "1 keys in force, found to be the newest 0s ago" || testutil.ToFloat64(g.metrics.broken) != 0 {
			t.Errorf("%s: after repair %q, %v", name, detail, err)
		}
	}
}

func TestNewNeedsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	if _, err := New(Config{KeysFile: path}); err == nil {
		t.Error("no file: taken")
	}
	writeFile(t, path, bytes.Repeat([]byte(" "), maxKeysDocument+1))
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
	c.put(inUse, verified{until: now.Add(time.Hour)})
	for n := range 10_000 {
		c.put([32]byte{byte(n), byte(n >> 8), 1}, verified{until: now.Add(time.Hour)})
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
	c.Advance(5 * time.Second)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	err = testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP triggerd_ingress_tokens_total Tokens judged: cached (verified lately), verified, refused. Bad if refused rises for callers that are known: see tokens_refused and keys_broken.
# TYPE triggerd_ingress_tokens_total counter
triggerd_ingress_tokens_total{result="cached"} 1
triggerd_ingress_tokens_total{result="refused"} 1
triggerd_ingress_tokens_total{result="verified"} 1
# HELP triggerd_ingress_keys Keys in force, those of token issuers. 2 or more while they are being rotated.
# TYPE triggerd_ingress_keys gauge
triggerd_ingress_keys 4
# HELP triggerd_ingress_keys_age_seconds Time since the keys in force were last found to be the newest. Bad over some times the interval of reloading: a key that was taken away still counts; see keys_broken.
# TYPE triggerd_ingress_keys_age_seconds gauge
triggerd_ingress_keys_age_seconds 5
`), "triggerd_ingress_tokens_total", "triggerd_ingress_keys", "triggerd_ingress_keys_age_seconds")
	if err != nil {
		t.Error(err)
	}
}
