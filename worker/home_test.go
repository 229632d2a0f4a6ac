package worker

import (
	"path/filepath"
	"strings"
	"testing"
)

// Workers that are given the same directory, as replicas in containers are, have a home each, and one that comes back has one that was left.
func TestHomesAreShared(t *testing.T) {
	cfg := Config{DataDir: t.TempDir(), DataHomes: 2}
	open := func(want string) *home {
		t.Helper()
		h, err := cfg.openHome()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.close)
		if h.dir != filepath.Join(cfg.DataDir, want, homeDir) {
			t.Errorf("home is %s, want %s", h.dir, want)
		}
		return h
	}
	first, second := open("0"), open("1")
	if first.name == second.name {
		t.Errorf("both are %s", first.name)
	}
	if _, err := cfg.openHome(); err == nil || !strings.Contains(err.Error(), "2 other workers that run have all of them") {
		t.Errorf("a third one: %v", err)
	}
	first.close()
	if again := open("0"); again.name != first.name {
		t.Errorf("it is %s, was %s", again.name, first.name)
	}
}

// A directory that is broken is said, not passed over: its partitions would silently be somewhere else.
func TestBrokenHomeIsNotPassedOver(t *testing.T) {
	cfg := Config{DataDir: filepath.Join("/dev/null", "x"), DataHomes: 2}
	if _, err := cfg.openHome(); err == nil || !strings.Contains(err.Error(), "make worker's directory (-data-dir)") {
		t.Errorf("got %v", err)
	}
}
