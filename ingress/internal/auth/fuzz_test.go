package auth

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzVerify shows that nothing that a stranger can send gets through, nor breaks the gate. FuzzClaims signs what it makes up,
// so that it reaches what comes after the signature.
func FuzzVerify(f *testing.F) {
	i := newIssuer()
	g, _ := newGate(f, i.keys()...)
	for _, token := range []string{
		rawToken(i, `{"alg":"none","kid":"ed"}`, goodClaims("")),
		rawToken(i, `{"alg":"HS256","kid":"rs"}`, goodClaims("")),
		rawToken(i, `{"alg":"EdDSA","kid":"../ed"}`, goodClaims("")),
		"..", "a.b.c", "",
	} {
		f.Add("JWT " + token)
	}
	f.Fuzz(func(t *testing.T, authorization string) {
		id, err := g.Verify(authorization)
		if !errors.Is(err, ErrToken) || id != (Identity{}) {
			t.Fatalf("%q: %v, %v", authorization, id, err)
		}
	})
}

func FuzzClaims(f *testing.F) {
	i := newIssuer()
	g, _ := newGate(f, i.keys()...)
	f.Add(goodHeader, goodClaims(""))
	f.Add(`{"alg":"EdDSA","kid":"ed","crit":["x"]}`, goodClaims(`,"sub":"other"`))
	f.Add(goodHeader, claimsWith("exp", "1e400"))
	f.Add(goodHeader, claimsWith("aud", `["a",["triggerd"]]`))
	f.Fuzz(func(t *testing.T, header, claims string) {
		id, err := g.Verify("JWT " + rawToken(i, header, claims))
		if err != nil {
			if !errors.Is(err, ErrToken) || id != (Identity{}) {
				t.Fatalf("%v, %v", id, err)
			}
			return
		}
		if !validAccount(id.Account) || id.Scopes > ScopeTrigger|ScopeRuntime|ScopeAdmin {
			t.Fatalf("%+v from %q %q", id, header, claims)
		}
	})
}

// FuzzKeys reads key files: whatever is in them, what comes out can be asked to verify.
func FuzzKeys(f *testing.F) {
	f.Add(keySet(newIssuer().keys()...))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseKeys(data)
		if err == nil && len(set.keys) == 0 {
			t.Fatal("no keys and no error")
		}
		for _, k := range set.keys {
			if err := k.method.Verify("x", []byte("no signature"), k.material); err == nil {
				t.Fatal("nonsense passes for a signature")
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	if err := EnsureKeys(dir); err != nil {
		b.Fatal(err)
	}
	signer, err := LoadSigner(filepath.Join(dir, SigningKeyFile))
	if err != nil {
		b.Fatal(err)
	}
	token, err := signer.Issue("demo", "trigger", 1<<40)
	if err != nil {
		b.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, KeysFile))
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "jwks.json")
	writeFile(b, path, data)
	g, err := New(Config{KeysFile: path})
	if err != nil {
		b.Fatal(err)
	}
	header := "JWT " + token
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Verify(header); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fresh", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.judge(g.ring.Load(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("dots", func(b *testing.B) {
		attack := "JWT " + string(make([]byte, DefaultMaxToken-1)) + "."
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Verify(attack); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
