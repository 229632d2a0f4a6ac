package setup

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/triggerd/triggerd/ingress"
)

// read is what is below dir, by its name.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func names(files map[string]string) (all []string) {
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Each finds its own secrets in its directory, and nobody else's, and those that only their maker's user reads are for nobody else.
func TestRunMakesEverythingOnce(t *testing.T) {
	dir := t.TempDir()
	made, err := Run(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	first := read(t, dir)
	want := []string{"grafana/admin-password", "ingress/ingress.nk", "ingress/jwks.json", "nats/nats.env",
		"operator/jwks.json", "operator/operator.nk", "operator/signing.pem", "operator/system.nk", "worker/worker.nk"}
	if !slices.Equal(names(first), want) || len(made) != len(want)-1 {
		t.Errorf("there are %v, made were %v", names(first), made)
	}
	for _, role := range []string{"ingress", "worker", "operator", "system"} {
		public := publicKey(t, first, role)
		if !strings.Contains(first["nats/nats.env"], "export TRIGGERD_NKEY_"+strings.ToUpper(role)+"="+public+"\n") {
			t.Errorf("servers are not told %s's key: %s", role, first["nats/nats.env"])
		}
	}
	if first["ingress/jwks.json"] != first["operator/jwks.json"] {
		t.Error("ingresses have other keys than those that sign")
	}
	if _, err := ingress.IssueToken(filepath.Join(dir, "operator", "signing.pem"), "demo", "trigger", 1e9); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{"ingress/ingress.nk", "worker/worker.nk", "operator/operator.nk", "operator/system.nk", "operator/signing.pem"} {
		if info, err := os.Stat(filepath.Join(dir, secret)); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is readable by others: %v, %v", secret, info.Mode(), err)
		}
	}
	if made, err = Run(Config{Dir: dir}); err != nil || len(made) != 0 {
		t.Errorf("the second time it makes %v, %v", made, err)
	}
	for name, text := range read(t, dir) {
		if first[name] != text {
			t.Errorf("%s was replaced", name)
		}
	}
}

func publicKey(t *testing.T, files map[string]string, role string) string {
	t.Helper()
	for name, text := range files {
		if filepath.Base(name) != role+".nk" {
			continue
		}
		pair, err := nkeys.FromSeed([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil || !nkeys.IsValidPublicUserKey(public) {
			t.Fatalf("%s: %v", public, err)
		}
		return public
	}
	t.Fatalf("%s has no seed", role)
	return ""
}

// What is missing is made, and what depends on it is told; a new signing key reaches the ingresses.
func TestRunMakesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	before := read(t, dir)
	for _, name := range []string{"worker/worker.nk", "ingress/jwks.json"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Run(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	after := read(t, dir)
	if after["worker/worker.nk"] == before["worker/worker.nk"] || after["nats/nats.env"] == before["nats/nats.env"] ||
		!strings.Contains(after["nats/nats.env"], publicKey(t, after, "worker")) {
		t.Error("servers do not know the new key")
	}
	if after["ingress/jwks.json"] != before["ingress/jwks.json"] || after["ingress/ingress.nk"] != before["ingress/ingress.nk"] {
		t.Error("more was made than what was missing")
	}
}

// A damaged seed is not replaced: whoever has the old one would be locked out without a word.
func TestRunKeepsWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	seed := filepath.Join(dir, "worker", "worker.nk")
	if err := os.Chmod(seed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(seed, []byte("SUgarbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Run(Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), seed) {
		t.Errorf("got %v", err)
	}
	if after := read(t, dir); after["worker/worker.nk"] != "SUgarbage" {
		t.Error("it was replaced")
	}
}
