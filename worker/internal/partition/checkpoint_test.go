package partition

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// A full disk: checkpoints fail and are tried again, applying pauses before memory is full too, readiness says
// what is wrong; with room again, nothing is missing.
func TestDiskFull(t *testing.T) {
	r := newRig(t)
	file := r.file()
	value := []byte(`"` + strings.Repeat("x", 200_000) + `"`)
	for i := range 130 { // more than the file and two generations of the overlay can hold
		user := fmt.Sprintf("user-%d", i)
		fat := register(user)
		fat.Vars = []record.Var{{Name: []byte("fat"), Value: value}}
		r.append(fat)
	}
	last := r.last()
	tight := func(c *Config, _ *Deps) {
		c.FileBytes, c.CheckpointBytes, c.DrainTimeout = 16<<20, 4<<20, 100*time.Millisecond
	}
	x := r.start(file, tight)
	natstest.Eventually(t, func() bool {
		_, err := x.Check()
		return err != nil && strings.Contains(err.Error(), "commit checkpoint")
	}, "readiness shows the failure")
	failures := x.deps.Metrics.commitFailures.WithLabelValues("0")
	natstest.Eventually(t, func() bool { return testutil.ToFloat64(failures) >= 4 }, "it is tried again") // takes longer than applying all
	if s := x.Status(); s.Applied >= last || s.OldestSeconds == 0 || s.CheckpointAge == 0 {
		t.Errorf("applying did not pause, or does not show it: %+v", s)
	}
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	x = r.start(file)
	x.reach(last)
	r.sameAsUninterrupted(x)
}
