package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

func TestGrowthPercent(t *testing.T) {
	for _, test := range []struct {
		growth, live int64
		want         int
	}{
		{256 << 20, 64 << 20, 400},
		{256 << 20, 256 << 20, 100},
		{256 << 20, 1 << 40, 100},
		{256 << 20, 1 << 20, 6400},
		{16 << 20, 32 << 20, 100},
		{256 << 20, 0, 6400}, // of a process that has only just begun
	} {
		if got := growthPercent(test.growth, test.live); got != test.want {
			t.Errorf("%d of %d: %d percent, want %d", test.growth, test.live, got, test.want)
		}
	}
}

// Each collection is followed by a look at what it left.
func TestCollectorFollowsTheHeap(t *testing.T) {
	set := make(chan int, 100)
	runtime.GC()
	lives := max(live(), leastHeap) // as much as the tests before have left
	c := &collector{growth: 4 * lives, set: func(percent int) int { set <- percent; return 0 }, percent: leastPercent}
	c.collected()
	small := <-set
	more := make([]byte, 2*lives)
	runtime.GC()
	natstest.Eventually(t, func() bool {
		runtime.GC()
		return len(set) > 0
	}, "it is told of the larger heap")
	if large := <-set; large >= small || large < leastPercent {
		t.Errorf("%d percent of a small heap, %d of a larger one", small, large)
	}
	runtime.KeepAlive(more)
}

// Go multiplies its least heap as well: a percentage that is right for a small heap must not let that grow without end.
func TestHeapIsCollected(t *testing.T) {
	if !alone(t) {
		return
	}
	runtime.GC()
	before := debug.SetGCPercent(growthPercent(32<<20, 0))
	defer debug.SetGCPercent(before)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	cycles := stats.NumGC
	for range 256 {
		garbage = make([]byte, 1<<20)
	}
	if runtime.ReadMemStats(&stats); stats.NumGC < cycles+3 {
		t.Errorf("%d collections of 256 MiB of garbage, not one every 32", stats.NumGC-cycles)
	}
}

var garbage []byte

// alone runs the test again in a process of its own, since there is one collector in each, and tells whether this is that process.
func alone(t *testing.T) bool {
	t.Helper()
	const there = "TEST_ALONE"
	if os.Getenv(there) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), there+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

func TestMemory(t *testing.T) {
	dir := t.TempDir()
	machine := memory(dir)
	if machine < 64<<20 || machine > 1<<50 {
		t.Errorf("the machine has %d bytes", machine)
	}
	write := func(file, text string) {
		t.Helper()
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("memory/memory.limit_in_bytes", "9223372036854771712\n")
	write("memory.max", "max\n")
	if got := memory(dir); got != machine {
		t.Errorf("without a limit: %d, want %d", got, machine)
	}
	write("memory.max", "33554432\n")
	if got := memory(dir); got != 32<<20 {
		t.Errorf("in a container: %d", got)
	}
}

// What the environment says of the collector holds.
func TestUseCollector(t *testing.T) {
	if !alone(t) {
		return
	}
	const odd = 123
	before := debug.SetGCPercent(odd)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "100")
	useCollector()
	if got := debug.SetGCPercent(odd); got != odd {
		t.Errorf("told to leave it: %d percent", got)
	}
	t.Setenv("GOGC", "")
	useCollector()
	if got := debug.SetGCPercent(odd); got == odd {
		t.Error("left to itself: nothing is set")
	}
}
