package settings

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

var update = flag.Bool("update", false, "write shared/config/variables.txt anew")

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// program is one of them: its name, its parts as its main has them, and what it must be told at least.
type program struct {
	name  string
	parts func() []config.Part
	least []string
}

func programs(t *testing.T) []program {
	t.Helper()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if err := ingress.EnsureKeys(keys); err != nil {
		t.Fatal(err)
	}
	ledger := filepath.Join(dir, "ledger")
	if err := os.WriteFile(ledger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	signing := []string{"-signing-key", ingress.KeysIn(keys).Signing}
	return []program{
		{"ingress", func() []config.Part { return process.Parts(&ingress.Config{}) }, []string{"-keys-file", ingress.KeysIn(keys).Public}},
		{"worker", func() []config.Part { return process.Parts(&worker.OwnConfig{}) }, []string{"-data-dir", dir}},
		{"standalone", func() []config.Part { return []config.Part{&standalone.Config{}} }, []string{"-data-dir", dir}},
		{"loadgen", func() []config.Part { return []config.Part{&loadgen.Config{}} }, signing},
		{"verify", func() []config.Part { return []config.Part{&loadgen.VerifyConfig{}} }, append(signing, "-ledger", ledger)},
	}
}

func find(t *testing.T, name string) program {
	t.Helper()
	for _, p := range programs(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("no program %s", name)
	return program{}
}

// faults are those of a load, a line each.
func (p program) faults(args, environ []string) []string {
	err := config.Load(p.name, append(slices.Clone(p.least), args...), environ, io.Discard, p.parts()...)
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// flags are those of the program, without the second ones of secrets.
func (p program) flags() (all []*flag.Flag) {
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	for _, part := range p.parts() {
		part.RegisterFlags(fs)
	}
	fs.VisitAll(func(f *flag.Flag) { all = append(all, f) })
	return all
}

func TestLeastIsEnough(t *testing.T) {
	for _, p := range programs(t) {
		if faults := p.faults(nil, nil); faults != nil {
			t.Errorf("%s: %q", p.name, faults)
		}
	}
}

// Programs share environments: what one of them knows is no misspelt setting of another, and is named. The list of it is a file, because a program does not
// have the others in it.
func TestVariablesOfAllPrograms(t *testing.T) {
	all := map[string][]string{}
	for _, p := range programs(t) {
		name := map[string]string{"verify": "loadgen"}[p.name]
		if name == "" {
			name = p.name
		}
		for _, variable := range config.Variables(p.parts()...) {
			if !slices.Contains(all[variable], name) {
				all[variable] = append(all[variable], name)
			}
		}
	}
	var want bytes.Buffer
	for _, variable := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&want, "%s %s\n", variable, strings.Join(all[variable], " "))
	}
	file := filepath.Join("..", "..", "shared", "config", "variables.txt")
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is not what the programs take: go test ./deploy/settings -update", file)
	}
}

func TestOfTheEnvironment(t *testing.T) {
	in := find(t, "ingress")
	if faults := in.faults(nil, []string{"TRIGGERD_DATA_DIR=/data", "TRIGGERD_SNAPSHOT_EVERY=-1s", "TRIGGERD_NATS_LISTEN=:4222"}); faults != nil {
		t.Errorf("what is for a worker and a server keeps an ingress from starting: %q", faults)
	}
	told, err := config.Read("ingress", in.least, []string{"TRIGGERD_DATA_DIR=/data"}, io.Discard, in.parts()...)
	if err != nil || len(told.Ignored) != 1 || !strings.HasPrefix(told.Ignored[0], "TRIGGERD_DATA_DIR (of worker") {
		t.Errorf("ignored: %q, %v", told.Ignored, err)
	}
	for environ, want := range map[string]string{
		"TRIGGERD_HTTP_ADR=:1":                 "did you mean TRIGGERD_HTTP_ADDR?",
		"TRIGGERD_INGRESS_PORT_8080_TCP=tcp:/": "enableServiceLinks",
		"TRIGGERD_SERVICE_HOST=10.0.0.1":       "enableServiceLinks",
	} {
		if faults := in.faults(nil, []string{environ}); len(faults) != 1 || !strings.Contains(faults[0], want) {
			t.Errorf("%s: %q does not say %s", environ, faults, want)
		}
	}
}
