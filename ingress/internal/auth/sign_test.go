package auth

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEnsureKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	pemFile, setFile := filepath.Join(dir, SigningKeyFile), filepath.Join(dir, KeysFile)
	info, err := os.Stat(pemFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(setFile); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the set is for others to read: mode %v, %v", info.Mode(), err)
	}
	before := read(t, pemFile) + read(t, setFile)
	if strings.Contains(read(t, setFile), `"d"`) {
		t.Error("the set holds the private key")
	}
	if err := EnsureKeys(dir); err != nil || read(t, pemFile)+read(t, setFile) != before {
		t.Errorf("second time: %v", err)
	}
	os.Remove(setFile) // as after a crash between the two
	if err := EnsureKeys(dir); err != nil || read(t, pemFile)+read(t, setFile) != before {
		t.Errorf("set is missing: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*tmp*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCreateOnce shows that of two who create a file the second does not replace it.
func TestCreateOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for n, data := range []string{"first", "second"} {
		created, err := createOnce(path, []byte(data), 0o600)
		if err != nil || created != (n == 0) {
			t.Errorf("%s: %v, %v", data, created, err)
		}
	}
	if got := read(t, path); got != "first" {
		t.Errorf("holds %q", got)
	}
}

// TestEnsureKeysAtOnce shows that of several processes that start together all end up with one key.
func TestEnsureKeysAtOnce(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := EnsureKeys(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	signer, err := LoadSigner(filepath.Join(dir, SigningKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, filepath.Join(dir, KeysFile)), signer.keyID) {
		t.Error("the set is that of another key")
	}
}

// TestTokenCommand takes a token on its whole way: command, file, gate.
func TestTokenCommand(t *testing.T) {
	dir := t.TempDir()
	if err := EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, SigningKeyFile)
	g, err := New(Config{KeysFile: filepath.Join(dir, KeysFile)})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := TokenCommand([]string{"-signing-key", key, "-account", "demo", "-scope", "trigger runtime", "-ttl", "24h"}, &stdout, &stderr)
	token, newline := strings.CutSuffix(stdout.String(), "\n")
	if code != 0 || !newline || strings.ContainsAny(token, " \n") || stderr.Len() > 0 {
		t.Fatalf("%d %q %q", code, stdout.String(), stderr.String())
	}
	if id, err := g.Verify("JWT " + token); err != nil || id != (Identity{"demo", ScopeTrigger | ScopeRuntime}) {
		t.Errorf("%v, %v", id, err)
	}
}

func TestTokenCommandRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, SigningKeyFile)
	for _, tc := range []struct {
		args []string
		code int
	}{
		{nil, 2},
		{[]string{"-account", "demo"}, 2},
		{[]string{"-signing-key", key}, 2},
		{[]string{"-signing-key", key, "-account", "demo", "more"}, 2},
		{[]string{"-unknown"}, 2},
		{[]string{"-signing-key", key, "-account", "demo", "-ttl", "long"}, 2},
		{[]string{"-signing-key", key + "x", "-account", "demo"}, 1},
		{[]string{"-signing-key", filepath.Join(dir, KeysFile), "-account", "demo"}, 1},
		{[]string{"-signing-key", key, "-account", "de\x00mo"}, 1},
		{[]string{"-signing-key", key, "-account", "demo", "-scope", "triger"}, 1},
		{[]string{"-signing-key", key, "-account", "demo", "-scope", " "}, 1},
		{[]string{"-signing-key", key, "-account", "demo", "-ttl", "-1h"}, 1},
		{[]string{"-h"}, 0},
	} {
		var stdout, stderr bytes.Buffer
		if code := TokenCommand(tc.args, &stdout, &stderr); code != tc.code || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%q: %d %q %q, want %d", tc.args, code, stdout.String(), stderr.String(), tc.code)
		}
	}
}

func TestIssuedTokensExpire(t *testing.T) {
	dir := t.TempDir()
	if err := EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	signer, err := LoadSigner(filepath.Join(dir, SigningKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: start}
	signer.now = c.Now
	g, err := New(Config{KeysFile: filepath.Join(dir, KeysFile), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Issue("demo", "admin", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Verify("JWT " + token); err != nil {
		t.Error(err)
	}
	c.Advance(time.Minute + DefaultLeeway + time.Second)
	if _, err := g.Verify("JWT " + token); err == nil {
		t.Error("accepted after it expired")
	}
}
