package archtest

import (
	"slices"
	"strings"
	"testing"
)

// rule forbids imports. Patterns are paths below the module, or of other modules; a final /... means all below and the path itself.
type rule struct {
	imports string   // what must not be imported
	except  []string // by anybody but these
	tests   bool     // whether tests may
	reason  string
}

// rules are read top down by whoever breaks one: each reason says what to do instead.
var rules = []rule{
	{"ingress/...", []string{"ingress/...", "deploy/..."}, false,
		"imports point down, and ingress and worker meet in NATS alone, so that many of each are a matter of more processes"},
	{"worker/...", []string{"worker/...", "deploy/..."}, false,
		"imports point down, and ingress and worker meet in NATS alone, so that many of each are a matter of more processes"},
	{"deploy/...", []string{"deploy/..."}, false,
		"deploy composes; nothing is made of a composition"},
	{"github.com/labstack/echo/...", []string{"ingress/internal/httpapi/...", "deploy/bench/..."}, false,
		"Echo v4 is maintained until the end of 2026: it stays behind httpapi, so that replacing it touches one package. deploy/bench measures an empty handler of it for comparison"},
	{"go.etcd.io/bbolt/...", []string{"worker/internal/store/..."}, false,
		"the file format is the store's alone; ask the store"},
	{"github.com/klauspost/compress/...", []string{"worker/internal/snapshot/...", "shared/natstest/..."}, false,
		"what is compressed is a format: snapshot's FORMAT.md says how. natstest looks into the server's backups"},
	{"github.com/nats-io/nats-server/...", []string{"deploy/standalone/...", "shared/natstest/...", "deploy/bench/..."}, true,
		"a server is embedded in standalone alone; tests take shared/natstest, and deploy/bench measures a bare server for comparison"},
	{"github.com/nats-io/nats-server/v2/test", nil, false,
		"it links package testing and leaves servers behind; take shared/natstest"},
	{"go.opentelemetry.io/...", []string{"shared/tracing/..."}, true,
		"spans are made with shared/tracing, so that what exports them can be replaced in one package"},
	{"shared/natstest", nil, true, "it is for tests"},
	{"github.com/golang-jwt/...", []string{"ingress/internal/auth/..."}, false,
		"who trusts a token is decided in one package"},
	{"expvar", nil, false, "it registers globally: make metrics in a constructor that takes a Registerer"},
	{"log", []string{}, false, "logs are log/slog, with constant messages and attributes"},
	{"github.com/HdrHistogram/...", []string{"deploy/loadgen/...", "deploy/bench/..."}, false,
		"metrics are Prometheus histograms; this is for the load generator's report"},
	{"pgregory.net/rapid", []string{"worker/internal/machine/machinetest"}, true, "it is for tests"},
	{"go.uber.org/goleak", nil, true, "it is for tests"},
	{"github.com/google/go-cmp/...", nil, true, "it is for tests"},
	{"github.com/pb33f/...", nil, true, "it is for contract tests"},
	{"testing", []string{"shared/natstest"}, true, "it is for tests"},
}

// pure packages import only what is listed; the tests of them what they like.
var pure = map[string][]string{
	"shared/record":           {"shared/strictjson"},
	"shared/strictjson":       nil,
	"worker/internal/machine": {"shared/record", "shared/strictjson"},
}

const pureReason = "it is a pure function of its input, without I/O, clock or randomness, and so imports only the standard library and its like"

// impure parts of the standard library.
var impure = []string{"crypto/rand", "database/...", "log/...", "math/rand", "math/rand/v2", "net", "net/http/...", "os", "os/...", "syscall"}

func TestImports(t *testing.T) {
	for _, pkg := range packages(t) {
		for _, r := range rules {
			checkRule(t, pkg, r)
		}
	}
}

func checkRule(t *testing.T, pkg *pkg, r rule) {
	t.Helper()
	if slices.ContainsFunc(r.except, func(pattern string) bool { return matches(pattern, pkg.path) }) {
		return
	}
	for _, f := range pkg.files {
		if f.test && r.tests {
			continue
		}
		for _, imported := range f.imports {
			if matches(r.imports, imported) {
				t.Errorf("%s imports %s: %s", f.name, imported, r.reason)
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	seen := 0
	for _, pkg := range packages(t) {
		allowed, ok := pure[pkg.path]
		if !ok {
			continue
		}
		seen++
		for _, f := range pkg.files {
			if f.test {
				continue
			}
			for _, imported := range f.imports {
				if !allowedInPure(imported, allowed) {
					t.Errorf("%s imports %s: %s", f.name, imported, pureReason)
				}
			}
		}
	}
	if seen != len(pure) {
		t.Errorf("found %d of %d pure packages: was one renamed?", seen, len(pure))
	}
}

func allowedInPure(imported string, allowed []string) bool {
	if slices.ContainsFunc(impure, func(pattern string) bool { return matches(pattern, imported) }) {
		return false
	}
	first, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(first, ".") && !ours(imported)
	return standard || slices.Contains(allowed, imported)
}

// A package that one importer has is that importer's, and belongs below it.
func TestSharedPackagesHaveTwoImporters(t *testing.T) {
	importers := map[string]map[string]bool{}
	for _, pkg := range packages(t) {
		for _, f := range pkg.files {
			for _, imported := range f.imports {
				if importers[imported] == nil {
					importers[imported] = map[string]bool{}
				}
				if imported != pkg.path {
					importers[imported][pkg.path] = true
				}
			}
		}
	}
	for _, pkg := range packages(t) {
		if matches("shared/...", pkg.path) && pkg.path != "shared/archtest" && len(importers[pkg.path]) < 2 {
			t.Errorf("%s has %d importers: what only one needs belongs to that one", pkg.path, len(importers[pkg.path]))
		}
	}
}

// The rules are worth nothing if they match nothing.
func TestRulesCatchWhatTheyForbid(t *testing.T) {
	for _, c := range []struct{ pattern, path string }{
		{"ingress/...", "ingress"}, {"ingress/...", "ingress/internal/httpapi"}, {"log", "log"},
		{"github.com/labstack/echo/...", "github.com/labstack/echo/v4/middleware"},
	} {
		if !matches(c.pattern, c.path) {
			t.Errorf("%s does not match %s", c.pattern, c.path)
		}
	}
	for _, c := range []struct{ pattern, path string }{
		{"ingress/...", "ingressive"}, {"log", "log/slog"}, {"worker/...", "shared/worker"},
	} {
		if matches(c.pattern, c.path) {
			t.Errorf("%s matches %s", c.pattern, c.path)
		}
	}
	for _, imported := range []string{"os", "net/http", "github.com/nats-io/nats.go", "shared/broker", "math/rand/v2"} {
		if allowedInPure(imported, nil) {
			t.Errorf("%s is allowed in a pure package", imported)
		}
	}
}
