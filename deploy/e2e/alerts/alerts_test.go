package alerts

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/broker"
)

// Without the flag TestFaultsFireAlerts, which needs prometheus and minutes, is no test of this package.
var _ = flag.Bool("faults", false, "run TestFaultsFireAlerts")

var binary string // directory of the programs

func bin(name string) string { return filepath.Join(binary, name) }

func TestMain(m *testing.M) {
	if !slices.Contains(os.Args, "-faults") { // flags are not parsed yet. Not a test that is skipped and looks green: none at all
		_ = flag.Set("test.skip", "^TestFaultsFireAlerts$")
		os.Exit(m.Run())
	}
	os.Exit(built(m))
}

// built makes the programs as they are shipped.
func built(m *testing.M) int {
	dir, err := os.MkdirTemp("", "alerts")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = dir
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../../../ingress/cmd/ingress", "../../../worker/cmd/worker").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Each fault fires what it is to fire, and its cure leaves nothing firing.
func TestFaultsFireAlerts(t *testing.T) {
	for _, fault := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"all workers are killed", killWorkers},
		{"a partition is paused", pausePartition},
		{"the broker comes back without syncing always", lazyBroker},
		{"the broker stops", stopBroker},
		{"the log is full", fillLog},
		{"the events stream refuses", refuseEvents},
		{"a checkpoint has no room", fillFile},
	} {
		t.Run(strings.ReplaceAll(fault.name, " ", "-"), fault.run)
	}
}

func killWorkers(t *testing.T) {
	w := newWorld(t)
	for _, worker := range w.workers {
		worker.kill()
	}
	w.fires("NoWorker", "PartitionUnserved", "StaleFast", "UnverifiedAccepts")
	for _, worker := range w.workers {
		worker.start()
	}
	w.quiet("with workers again")
}

func pausePartition(t *testing.T) {
	w := newWorld(t)
	once(t, bin("worker"), append([]string{"pause", "-partition", "1", "-reason", "test"}, w.url...)...)
	w.fires("StaleFast", "PartitionPaused")
	once(t, bin("worker"), append([]string{"resume", "-partition", "1"}, w.url...)...)
	w.quiet("after the pause")
}

func lazyBroker(t *testing.T) {
	w := newWorld(t)
	w.lazy.Store(true)
	w.broker.Restart()
	w.fires("DurabilityWrong")
	w.lazy.Store(false)
	w.broker.Restart()
	w.quiet("when it syncs always")
}

func stopBroker(t *testing.T) {
	w := newWorld(t)
	w.broker.Stop()
	w.fires("AcceptErrorsFast")
	w.broker.Boot()
	w.quiet("with the broker again")
}

// fillLog fills it while nobody trims it; the worker that comes back does.
func fillLog(t *testing.T) {
	w := newWorld(t, "-partitions", "1", "-triggers-max-bytes", "4MiB")
	for _, worker := range w.workers {
		worker.kill()
	}
	value := `"` + strings.Repeat("x", 100<<10) + `"`
	w.await("the log refuses", func() bool { return w.trigger(0, "large", value) == http.StatusServiceUnavailable })
	w.fires("LogRefuses", "AcceptErrorsFast", "PartitionUnserved")
	for _, worker := range w.workers {
		worker.start()
	}
	w.quiet("after the log was trimmed")
}

func refuseEvents(t *testing.T) {
	w := newWorld(t)
	set := func(most int32) {
		js := w.broker.JetStream()
		stream, err := js.Stream(t.Context(), broker.EventsStream(0))
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgSize = most
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	set(1)
	w.fires("EmissionStuck")
	set(-1)
	w.quiet("when events are taken again")
}

// fillFile makes a partition's state larger than its file may be.
func fillFile(t *testing.T) {
	w := newWorld(t, "-partitions", "1")
	for _, worker := range w.workers {
		worker.kill()
		worker.start("-partition-max-bytes", "16MiB")
	}
	w.quiet("with small files")
	value := `"` + strings.Repeat("x", 100<<10) + `"`
	for i := range 200 {
		w.await("a large variable is taken", func() bool { return w.trigger(i%users, fmt.Sprint("large", i/users), value) == http.StatusOK })
	}
	w.fires("CheckpointFailing")
	for _, worker := range w.workers {
		worker.kill()
		worker.start()
	}
	w.quiet("with room")
}
