package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/natstest"
)

var (
	seed = flag.Uint64("seed", 0, "of the run; 0 takes a random one")
	long = flag.Duration("for", 0, "how long to strike at random; 0 runs each nemesis once")
	only = flag.String("only", "", "run the nemeses with this in their name only")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hold adapts natstest.Proxy.
type hold struct{ *natstest.Proxy }

func (h hold) Stall() { h.Hold() }
func (h hold) Flow()  { h.Release() }

func TestChaos(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	dir := keptDir(t)
	begun := time.Now()
	bin, err := Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	say := func(format string, args ...any) {
		t.Helper()
		t.Logf("%7.3fs %s", time.Since(begun).Seconds(), fmt.Sprintf(format, args...))
	}
	say("built")
	f, err := Start(t.Context(), Config{Dir: dir, Binaries: bin, Partitions: 4, MemberTTL: 2 * time.Second, Patience: 2 * time.Minute, CutFor: 4 * time.Second,
		Log: say, Proxy: func(target string) (Proxy, error) { return hold{natstest.NewProxy(t, target)}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	say("started")
	load, err := f.StartLoad(t.Context(), *seed)
	if err != nil {
		t.Fatal(err)
	}
	defer load.Stop()
	for i, n := range Nemeses() {
		if !strings.Contains(n.Name, *only) {
			continue
		}
		if err := f.Strike(t.Context(), n, rand.New(rand.NewPCG(*seed, uint64(1000+i)))); err != nil {
			t.Fatal(err)
		}
	}
	load.Stop()
	say("%s", load.Summary())
	faults, err := f.Audit(t.Context(), load)
	if err != nil {
		t.Fatal(err)
	}
	for i, fault := range faults {
		if i < 50 {
			t.Error(fault)
		}
	}
	say("audited, %d faults", len(faults))
}

// keptDir is a directory that stays if the test fails.
func keptDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "triggerd-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("everything is kept in %s", dir)
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, name := range logs {
			t.Logf("end of %s:\n%s", name, tail(name, 15))
		}
	})
	return dir
}

// tail is the last lines of a file.
func tail(name string, lines int) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
