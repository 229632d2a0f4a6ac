package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Rows to compare with, as variants orders them.
const (
	echoRow      = 0
	jetStreamRow = 1
)

// Table is what a comparison showed.
type Table struct {
	Conditions string
	rows       []row
}

// row is one variant, a measurement of each round.
type row struct {
	name string
	seen []measurement
}

func (r *row) add(m measurement) { r.seen = append(r.seen, m) }

// median of what of says of each measurement.
func (r *row) median(of func(i int, m measurement) float64) float64 {
	var values []float64
	for i, m := range r.seen {
		values = append(values, of(i, m))
	}
	return middle(values)
}

// ratio is the median over the rounds of this row's rate over the other's.
func (r *row) ratio(other *row) float64 {
	return r.median(func(i int, m measurement) float64 { return m.rate / other.seen[i].rate })
}

// Print writes the table for a person.
func (t *Table) Print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n%-46s %10s %9s %9s %9s %8s %12s\n", t.Conditions, "medians", "accepted/s", "p50", "p99", "refused", "× echo", "× jetstream")
	for i := range t.rows {
		r := &t.rows[i]
		fmt.Fprintf(w, "%-46s %10.0f %9s %9s %9.0f %8.2f %12.2f\n", r.name,
			r.median(func(_ int, m measurement) float64 { return m.rate }),
			round(r.median(func(_ int, m measurement) float64 { return float64(m.p50) })),
			round(r.median(func(_ int, m measurement) float64 { return float64(m.p99) })),
			r.median(func(_ int, m measurement) float64 { return float64(m.refused) }),
			r.ratio(&t.rows[echoRow]), r.ratio(&t.rows[jetStreamRow]))
	}
}

func round(ns float64) string { return time.Duration(ns).Round(10 * time.Microsecond).String() }

// Samples of the disk's own speed.
const (
	syncSamples = 200
	syncBytes   = 4 << 10
)

// observe says under which conditions the comparison is made: numbers mean nothing without.
func observe(cfg Config) (string, error) {
	conditions, err := machine(cfg.Dir, cfg.Duration)
	return fmt.Sprintf("%s\n%d connections, closed loop, %d users, %d more variables of %d bytes, %d rounds of %s each",
		conditions, cfg.Connections, cfg.Users, cfg.Vars, cfg.ValueBytes, cfg.Rounds, cfg.Duration), err
}

// machine says where something is measured. It looks for as long as span, which is that of a measurement, or for steadyMost.
func machine(dir string, span time.Duration) (string, error) {
	p50, err := syncTime(dir)
	if err != nil {
		return "", fmt.Errorf("measure disk: %w", err)
	}
	return fmt.Sprintf("%s %s/%s, %d processors (%s) for servers and load generator together; fsync of 4 KiB in %s: p50 %s; %s", runtime.Version(),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), dir, p50.Round(time.Microsecond), steadiness(span)), nil
}

// syncTime is the median time of appending a block and syncing it.
func syncTime(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, "triggerd-sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block, times := make([]byte, syncBytes), make([]time.Duration, syncSamples)
	for i := range times {
		begun := time.Now()
		if _, err := file.Write(block); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(begun)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// processor is the model, if the system says.
func processor() string {
	text, err := os.ReadFile(filepath.Join("/", "proc", "cpuinfo"))
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return "model unknown"
}
