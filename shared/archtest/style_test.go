package archtest

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

const maxMain = 60 // lines

// A program is a value that tests and standalone can run; its main only starts it.
func TestMainsAreShort(t *testing.T) {
	mains := 0
	for _, pkg := range packages(t) {
		for _, f := range pkg.files {
			if f.test || f.tree.Name.Name != "main" {
				continue
			}
			mains++
			if f.lines > maxMain {
				t.Errorf("%s has %d lines, over %d: the program belongs into a package that can be run by tests", f.name, f.lines, maxMain)
			}
			if !strings.Contains(f.name, "/cmd/") || !strings.HasSuffix(f.name, "/main.go") {
				t.Errorf("%s: a binary is <area>/cmd/<binary>/main.go", f.name)
			}
		}
	}
	if mains < 3 {
		t.Errorf("found %d mains", mains)
	}
}

// The package comment is the contract.
func TestPackagesHaveComments(t *testing.T) {
	for _, pkg := range packages(t) {
		documented, code := 0, false
		for _, f := range pkg.files {
			if f.test {
				continue
			}
			code = true
			if f.tree.Doc != nil {
				documented++
			}
		}
		if code && documented != 1 {
			t.Errorf("%s has %d package comments, not 1", pkg.path, documented)
		}
	}
}

// What init does happens to everybody who imports the package, in an order that nobody chose.
func TestNoInit(t *testing.T) {
	for _, pkg := range packages(t) {
		for _, f := range pkg.files {
			for _, decl := range f.tree.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s has an init function: make a constructor that is called", f.name)
				}
			}
		}
	}
}

// forbidden are names of other packages, by what they begin with.
var forbidden = []struct{ name, reason string }{
	{"time.Sleep", "wait for what is meant, on a channel or a position; what sleeps is slow or wrong"},
	{"promauto.New", "it registers globally, and several programs run in one process: use promauto.With"},
	{"prometheus.MustRegister", "it registers globally, and several programs run in one process: take a Registerer"},
	{"prometheus.Register", "it registers globally, and several programs run in one process: take a Registerer"},
	{"prometheus.DefaultRegisterer", "several programs run in one process: take a Registerer"},
	{"prometheus.DefaultGatherer", "several programs run in one process: take a Gatherer"},
	{"http.DefaultServeMux", "several programs run in one process: make a mux"},
	{"http.HandleFunc", "it registers on the global mux: make one"},
	{"slog.SetDefault", "several programs run in one process: take a *slog.Logger"},
	{"flag.CommandLine", "flags belong to a set that shared/config makes"},
	{"flag.Parse", "flags belong to a set that shared/config makes"},
}

func TestNoForbiddenNames(t *testing.T) {
	for _, pkg := range packages(t) {
		for _, f := range pkg.files {
			ast.Inspect(f.tree, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					checkSelector(t, f, sel)
				}
				return true
			})
		}
	}
}

func checkSelector(t *testing.T, f *file, sel *ast.SelectorExpr) {
	t.Helper()
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return
	}
	name := x.Name + "." + sel.Sel.Name
	for _, c := range forbidden {
		if name == c.name || strings.HasSuffix(c.name, ".New") && strings.HasPrefix(name, c.name) {
			t.Errorf("%s uses %s: %s", f.name, name, c.reason)
		}
	}
}

// The project stands alone: nothing in it points to where or how it was made. The patterns are taken apart so as not to find themselves.
var outside = regexp.MustCompile(`\.\./` + `shared|/wo` + `rk/` + `|\bissues? ` + `#?\d|/tmp/(pl` + `an|changes)`)

func TestNothingPointsOutside(t *testing.T) {
	for _, name := range tracked(t) {
		if strings.Contains(name, "/testdata/") || strings.HasPrefix(name, "testdata/") {
			continue
		}
		for i, line := range strings.Split(string(text(name)), "\n") {
			if found := outside.FindString(line); found != "" {
				t.Errorf("%s:%d points outside of the project: %q", name, i+1, found)
			}
		}
	}
}

const maxFile = 400 // lines of a file that is not a test

// A long file tells more than one story.
func TestNothingIsTooLong(t *testing.T) {
	for _, pkg := range packages(t) {
		for _, f := range pkg.files {
			if !f.test && f.lines > maxFile {
				t.Errorf("%s has %d lines, over %d", f.name, f.lines, maxFile)
			}
		}
	}
}
