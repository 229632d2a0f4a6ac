package auth

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keysDir is a keys directory, what a gate makes of it, and what is typed.
type keysDir struct {
	t   *testing.T
	dir string
	g   *Gate
}

func newKeysDir(t *testing.T) *keysDir {
	t.Helper()
	k := &keysDir{t: t, dir: filepath.Join(t.TempDir(), "keys")}
	k.run(0)
	var err error
	if k.g, err = New(Config{KeysFile: k.path(KeysFile)}); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keysDir) path(name string) string { return filepath.Join(k.dir, name) }

// run is `ingress keys args -dir …`.
func (k *keysDir) run(code int, args ...string) string {
	k.t.Helper()
	var stdout, stderr bytes.Buffer
	if got := KeysCommand(append(args, "-dir", k.dir), &stdout, &stderr); got != code || (code == 0) != (stderr.Len() == 0) || code != 0 && stdout.Len() > 0 {
		k.t.Fatalf("keys %q: %d, %q %q", args, got, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// signer is who signs with a file.
func (k *keysDir) signer(name string) *Signer {
	k.t.Helper()
	s, err := LoadSigner(k.path(name))
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

func (k *keysDir) token(name string) string {
	k.t.Helper()
	token, err := k.signer(name).Issue("demo", "trigger", time.Hour)
	if err != nil {
		k.t.Fatal(err)
	}
	return "JWT " + token
}

func (k *keysDir) passes(token string, want bool, when string) {
	k.t.Helper()
	k.g.reload(k.t.Context())
	if _, err := k.g.Verify(token); (err == nil) != want {
		k.t.Errorf("%s: %v", when, err)
	}
}

// TestRotation is the procedure of deploy/TOKENS.md: at no moment is a token refused that should pass, and afterwards those of the old key are.
func TestRotation(t *testing.T) {
	k := newKeysDir(t)
	old := k.token(SigningKeyFile)
	oldID := k.signer(SigningKeyFile).keyID
	k.passes(old, true, "before")

	said := k.run(0, "add")
	if info, err := os.Stat(k.path(NextKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("next key: %v, %v", info, err)
	}
	nextID := k.signer(NextKeyFile).keyID
	if said != k.path(NextKeyFile)+"\nkid "+nextID+"\n" {
		t.Errorf("add says %q", said)
	}
	next := k.token(NextKeyFile)
	k.passes(old, true, "with two keys")
	k.passes(next, true, "with two keys, the new one")
	if list := k.run(0, "list"); list != oldID+"\tOKP\tsigning.pem\n"+nextID+"\tOKP\tnext.pem\n" {
		t.Errorf("list says %q", list)
	}
	k.run(1, "retire", "-kid", oldID) // it still signs

	if err := os.Rename(k.path(NextKeyFile), k.path(SigningKeyFile)); err != nil {
		t.Fatal(err)
	}
	k.passes(old, true, "when the new one signs")
	k.passes(k.token(SigningKeyFile), true, "when the new one signs, the new one")
	k.run(0, "retire", "-kid", oldID)
	k.passes(old, false, "after the old one is retired")
	k.passes(next, true, "after the old one is retired, the new one")
	if list := k.run(0, "list"); list != nextID+"\tOKP\tsigning.pem\n" {
		t.Errorf("list says %q", list)
	}
	k.run(1, "retire", "-kid", oldID)
	if left, _ := filepath.Glob(k.path("*tmp*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestAddIsRepeatable shows that adding goes on where it was cut off, and makes one key at a time.
func TestAddIsRepeatable(t *testing.T) {
	k := newKeysDir(t)
	before := read(t, k.path(KeysFile))
	first := k.run(0, "add")
	after := read(t, k.path(KeysFile))
	if k.run(0, "add") != first || read(t, k.path(KeysFile)) != after {
		t.Error("a second time it is not the same")
	}
	writeFile(t, k.path(KeysFile), []byte(before)) // as after a crash between the two files
	if k.run(0, "add") != first || read(t, k.path(KeysFile)) != after {
		t.Error("after a crash it does not go on")
	}
}

// TestForeignKeysAreKept shows that a set may have keys and members that are not ours, and that its last key is not taken.
func TestForeignKeysAreKept(t *testing.T) {
	k := newKeysDir(t)
	i := newIssuer()
	set := `{"keys":[` + strings.TrimSuffix(strings.TrimPrefix(string(keySet(i.keys()[1], jwk{"kty": "EC", "kid": "p384", "crv": "P-384", "note": "ours"})), `{"keys":[`), `]}`) + `],"owner":"ann"}`
	writeFile(t, k.path(KeysFile), []byte(set))
	if err := os.Chmod(k.path(KeysFile), 0o640); err != nil {
		t.Fatal(err)
	}
	k.run(0, "add")
	k.run(0, "retire", "-kid", "ec")
	got := read(t, k.path(KeysFile))
	if !strings.Contains(got, `"note": "ours"`) || !strings.Contains(got, `"owner": "ann"`) || strings.Contains(got, `"kid": "ec"`) {
		t.Errorf("the set is %s", got)
	}
	if info, err := os.Stat(k.path(KeysFile)); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	k.run(1, "retire", "-kid", k.signer(NextKeyFile).keyID) // nothing would be left to verify with
	if read(t, k.path(KeysFile)) != got {
		t.Error("a refused change changed something")
	}
}

func TestKeysCommandRefuses(t *testing.T) {
	k := newKeysDir(t)
	for _, args := range [][]string{{"remove"}, {"retire"}, {"add", "-kid", "x"}, {"-kid", "x"}, {"-unknown"}, {"add", "-dir", "x", "more"}} {
		k.run(2, args...)
	}
	k.run(1, "retire", "-kid", "other")
	os.Remove(k.path(KeysFile))
	k.run(1, "add")
	k.run(1, "list")
	if _, err := os.Stat(k.path(NextKeyFile)); err == nil {
		t.Error("a key was made that is in no set")
	}
	writeFile(t, k.path(KeysFile), []byte("{}"))
	k.run(1, "add")
	var stdout, stderr bytes.Buffer
	if code := KeysCommand([]string{"-h"}, &stdout, &stderr); code != 0 || !strings.Contains(stderr.String(), "retire") {
		t.Errorf("help: %d %q", code, stderr.String())
	}
}
