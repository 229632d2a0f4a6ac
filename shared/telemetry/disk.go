package telemetry

import (
	"fmt"
	"math"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// RegisterDisk shows how much room there is where dir lies, looked up at each scrape. disk says whose directory it is: a word of the program's, not a path.
// A directory that cannot be looked at shows NaN rather than a number that would calm an alert. A nil reg shows nothing.
func RegisterDisk(reg prometheus.Registerer, disk, dir string) error {
	if reg == nil {
		return nil
	}
	gauge := func(name, help string, value func(*syscall.Statfs_t) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{"disk": disk}}, func() float64 {
			var fs syscall.Statfs_t
			if syscall.Statfs(dir, &fs) != nil {
				return math.NaN()
			}
			return value(&fs)
		})
	}
	for _, g := range []prometheus.Collector{
		gauge("triggerd_disk_free_bytes", "Bytes that this process may still write where its directory lies. Bad under a tenth of disk_size_bytes: checkpoints (worker) or appends (broker) fail when it is full.",
			func(fs *syscall.Statfs_t) float64 { return float64(fs.Bavail) * float64(fs.Bsize) }),
		gauge("triggerd_disk_size_bytes", "Bytes of the file system where the directory lies.",
			func(fs *syscall.Statfs_t) float64 { return float64(fs.Blocks) * float64(fs.Bsize) }),
	} {
		if err := reg.Register(g); err != nil {
			return fmt.Errorf("show disk %s: %w", disk, err)
		}
	}
	return nil
}
