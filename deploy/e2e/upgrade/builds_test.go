//go:build upgrade

package upgrade

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var from = flag.String("from", "", "revision to upgrade from and to go back to; empty: the commit before this tree")

// binaries are the programs of one build.
type binaries struct {
	revision                 string // as git describes it
	ingress, worker, loadgen string // files; loadgen of this tree alone
}

// build makes the binaries of the revision before and of this tree.
func build(t *testing.T) (before, present binaries) {
	t.Helper()
	root := strings.TrimSpace(run(t, "", "go", "list", "-m", "-f", "{{.Dir}}"))
	revision := *from
	if revision == "" {
		revision = commitBefore(t, root)
	}
	revision = strings.TrimSpace(git(t, root, "rev-parse", "--verify", "--short", revision+"^{commit}"))
	sources := t.TempDir()
	unpack(t, git(t, root, "archive", "--format=tar", revision), sources)
	return compile(t, sources, revision), compile(t, root, "this tree", "./deploy/cmd/loadgen")
}

// commitBefore is the commit from which whoever has this tree would come: the last one, if there are changes that are not in it, else the one before.
func commitBefore(t *testing.T, root string) string {
	t.Helper()
	if strings.TrimSpace(git(t, root, "status", "--porcelain")) != "" {
		return "HEAD"
	}
	return "HEAD^1"
}

// git fails the test with what to do, if there is no history.
func git(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, err := output(root, "git", args...)
	if err != nil {
		t.Fatalf("%v\nthis test needs git and the commit to upgrade from: clone with a depth of at least 2 (fetch-depth: 2), or name a revision that is there (make upgrade-test FROM=…)", err)
	}
	return out
}

// compile builds as make build does, so that what did not change comes out of the cache.
func compile(t *testing.T, dir, revision string, more ...string) binaries {
	t.Helper()
	bin := t.TempDir()
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", bin + string(filepath.Separator), "./ingress/cmd/ingress", "./worker/cmd/worker"}, more...)
	run(t, dir, "go", args...)
	return binaries{revision: revision, ingress: filepath.Join(bin, "ingress"), worker: filepath.Join(bin, "worker"), loadgen: filepath.Join(bin, "loadgen")}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := output(dir, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(err, errors.New(cmd.String()), errors.New(stderr.String()))
	}
	return string(out), nil
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	for in := tar.NewReader(strings.NewReader(archive)); ; {
		entry, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = unpackEntry(in, entry, dir)
		}
		if err != nil {
			t.Fatalf("unpack the sources: %v", err)
		}
	}
}

func unpackEntry(in io.Reader, entry *tar.Header, dir string) error {
	name := filepath.Join(dir, filepath.FromSlash(entry.Name))
	switch entry.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(name, 0o755)
	case tar.TypeReg:
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, entry.FileInfo().Mode()))
	}
	return nil
}
