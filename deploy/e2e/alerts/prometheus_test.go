package alerts

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
)

// Alerts that are not looked at: what is said of the machine that tests run on, and the slow burn rates, which look back over days, so that a cure clears them when
// nobody waits for it any more.
var passedOver = []string{"DiskFilling", "DiskNearlyFull", "AcceptErrorsSlow", "AcceptSlowSlow", "StaleSlow"}

// watcher is a Prometheus.
type watcher struct {
	t    *testing.T
	addr string
}

// watch starts one that scrapes the targets.
func watch(t *testing.T, ingress, workers []string) *watcher {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is missing: install Debian's package of that name, or put the program of a release into PATH")
	}
	dir := t.TempDir()
	writeRules(t, dir)
	quoted := func(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }
	config := fmt.Sprintf(`
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: ["*.yml"]
scrape_configs:
  - {job_name: ingress, static_configs: [{targets: [%[2]s]}]}
  - {job_name: worker, static_configs: [{targets: [%[3]s]}]}
`, fmt.Sprintf("%dms", scrapeEvery.Milliseconds()), quoted(ingress), quoted(workers))
	file := filepath.Join(dir, "prometheus.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, addr: natstest.FreeAddr(t)}
	newProgram(t, binary, "--config.file="+file, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+w.addr, "--log.level=warn").start()
	w.await("prometheus answers and all targets are up", func() bool {
		return w.query("sum(up)") == float64(len(ingress)+len(workers))
	})
	return w
}

// await looks a few times a second, for as long as anything may take on a machine that does something else as well.
func (w *watcher) await(what string, cond func() bool) {
	w.t.Helper()
	late := time.NewTimer(75 * time.Second)
	defer late.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for !cond() {
		select {
		case <-late.C:
			w.t.Fatalf("waiting until %s; firing: %v", what, w.firing())
		case <-again.C:
		}
	}
}

// get asks; false while it does not answer.
func (w *watcher) get(path string, answer any) bool {
	resp, err := http.Get("http://" + w.addr + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(answer) == nil
}

// query is the value of an expression with one sample; -1 if there is none.
func (w *watcher) query(expr string) float64 {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]json.RawMessage }
		}
	}
	if !w.get("/api/v1/query?query="+expr, &answer) || len(answer.Data.Result) != 1 {
		return -1
	}
	var value float64
	if _, err := fmt.Sscanf(string(answer.Data.Result[0].Value[1]), `"%g"`, &value); err != nil {
		return -1
	}
	return value
}

// firing are the alerts that do, by name, with the partitions of which they speak.
func (w *watcher) firing() map[string][]string {
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if !w.get("/api/v1/alerts", &answer) {
		return map[string][]string{"prometheus does not answer": nil}
	}
	names := map[string][]string{}
	for _, a := range answer.Data.Alerts {
		if name := a.Labels["alertname"]; a.State == "firing" && !slices.Contains(passedOver, name) {
			names[name] = append(names[name], a.Labels["partition"])
		}
	}
	return names
}

// quiet waits until nothing fires: before a fault, or it would prove nothing, and after its cure.
func (w *watcher) quiet(when string) {
	w.t.Helper()
	w.await(when+" nothing fires", func() bool { return len(w.firing()) == 0 })
}

// fires waits until all of these alerts do.
func (w *watcher) fires(names ...string) {
	w.t.Helper()
	seen := map[string]bool{}
	w.await(fmt.Sprintf("%v fire", names), func() bool {
		for name := range w.firing() {
			seen[name] = true
		}
		return !slices.ContainsFunc(names, func(name string) bool { return !seen[name] })
	})
	w.t.Logf("fired: %v", slices.Sorted(maps.Keys(seen)))
}
