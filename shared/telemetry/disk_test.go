package telemetry_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// A directory that has gone must not look like one with room.
func TestDisk(t *testing.T) {
	reg := prometheus.NewRegistry()
	dir := t.TempDir()
	if err := telemetry.RegisterDisk(reg, "worker", dir); err != nil {
		t.Fatal(err)
	}
	if err := telemetry.RegisterDisk(reg, "gone", filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	value := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			value[f.GetName()+"/"+m.Label[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	free, size := value["triggerd_disk_free_bytes/worker"], value["triggerd_disk_size_bytes/worker"]
	if !(free >= 0 && size > 0 && free <= size) {
		t.Errorf("free is %g of %g bytes", free, size)
	}
	if gone := value["triggerd_disk_free_bytes/gone"]; !math.IsNaN(gone) {
		t.Errorf("free of a directory that is not there is %g, want NaN", gone)
	}
}
