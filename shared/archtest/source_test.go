package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/triggerd/triggerd/"

// pkg is one package below the module's root. Its path, and those of imports of ours, are without the module's.
type pkg struct {
	path  string
	files []*file
}

// file is one parsed source file.
type file struct {
	name    string // below the root
	test    bool
	imports []string
	tree    *ast.File
	lines   int
}

// source is read once; tests share it.
var source = sync.OnceValues(load)

func packages(t *testing.T) []*pkg {
	t.Helper()
	pkgs, err := source()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("found %d packages: is this the module's root?", len(pkgs))
	}
	return pkgs
}

// root is the module's directory: two up from here.
func root() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
}

// load parses every Go file of the module, tests included.
func load() ([]*pkg, error) {
	byPath := map[string]*pkg{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root(), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(name, entry)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(files, name)
		if err != nil {
			return err
		}
		dir := path.Dir(f.name)
		if byPath[dir] == nil {
			byPath[dir] = &pkg{path: dir}
		}
		byPath[dir].files = append(byPath[dir].files, f)
		return nil
	})
	var pkgs []*pkg
	for _, p := range byPath {
		pkgs = append(pkgs, p)
	}
	slices.SortFunc(pkgs, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return pkgs, err
}

// enter skips what is not of this module.
func enter(name string, entry fs.DirEntry) error {
	if name == root() {
		return nil
	}
	if entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func parse(files *token.FileSet, name string) (*file, error) {
	tree, err := parser.ParseFile(files, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root(), name)
	if err != nil {
		return nil, err
	}
	f := &file{name: filepath.ToSlash(rel), test: strings.HasSuffix(name, "_test.go"), tree: tree}
	f.lines = files.File(tree.FileStart).LineCount()
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.imports = append(f.imports, strings.TrimPrefix(imported, module))
	}
	return f, nil
}

// ours says whether a path without the module's is one of this module.
func ours(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return slices.Contains([]string{"ingress", "worker", "shared", "deploy"}, first)
}

// matches says whether p is what pattern means.
func matches(pattern, p string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return p == base || below && strings.HasPrefix(p, base+"/")
}

// tracked lists the files that git has, or would have: what is ignored is not the project.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = root()
	out, err := cmd.Output()
	if err != nil { // not a checkout, such as an unpacked archive: everything that is there
		return walk(t)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

func walk(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root(), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && name != root() {
			return filepath.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			rel, _ := filepath.Rel(root(), name)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// text is the content of a text file, nil if it is none or was deleted a moment ago.
func text(name string) []byte {
	data, err := os.ReadFile(filepath.Join(root(), name))
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return nil
	}
	return data
}
