package process

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
)

// The heap may grow by heapGrowth before it is collected, or by a part of the memory that there is, or to twice its size, as ever, if that is more. What lives in these processes is
// some ten megabytes, and its like in garbage is made in a fraction of a second; each collection computes for tens of milliseconds, and whoever comes then waits. Measured on two processors
// beside a flood of another account, that takes a third off the p99 of accepting.
const (
	heapGrowth     = 256 << 20 // bytes
	memoryToGrowth = 4
	leastPercent   = 100     // Go's own
	leastHeap      = 4 << 20 // bytes; Go takes a heap that is smaller, or not known yet, for as large
)

// useCollector sets when the heap is collected, unless the environment (GOGC) does. GOMEMLIMIT bounds it as ever.
func useCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	c := &collector{growth: min(heapGrowth, memory("/sys/fs/cgroup")/memoryToGrowth), set: debug.SetGCPercent, percent: leastPercent}
	c.collected()
}

// collector sets the heap's growth anew after each collection, in percent of what lives, because that is the only measure that Go knows.
type collector struct {
	growth  int64 // bytes
	set     func(percent int) int
	percent int
}

// collected is called after each collection, as the end of something that nobody refers to. It stops the world for a moment, so it does nothing about small changes.
func (c *collector) collected() {
	if want := growthPercent(c.growth, live()); want > c.percent*5/4 || want < c.percent*4/5 {
		c.set(want)
		c.percent = want
	}
	type marker struct{ next *collector }
	runtime.SetFinalizer(&marker{c}, func(m *marker) { m.next.collected() })
}

// growthPercent is what growth is of a heap of which so much lives.
func growthPercent(growth, live int64) int {
	return int(max(leastPercent, min(growth*100/max(live, leastHeap), math.MaxInt32)))
}

// live is how many bytes the last collection left.
func live() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return math.MaxInt64 // a later Go does not say: as ever
	}
	return int64(sample[0].Value.Uint64())
}

// memory is how much this process may use: the least of what GOMEMLIMIT, its container and the machine allow.
func memory(cgroup string) int64 {
	all := debug.SetMemoryLimit(-1)
	var machine syscall.Sysinfo_t
	if syscall.Sysinfo(&machine) == nil {
		all = min(all, int64(machine.Totalram)*int64(machine.Unit))
	}
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} { // versions 2 and 1
		text, err := os.ReadFile(filepath.Join(cgroup, file))
		if limit, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil { // "max": none
			all = min(all, limit)
		}
	}
	return all
}
