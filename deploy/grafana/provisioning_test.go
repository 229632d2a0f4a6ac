package grafana

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Grafana says nothing of a directory with dashboards that is not there, and shows none. So: the directory is the one that docker-compose.yml mounts, and the data source
// that the dashboards begin with is the one that is provisioned.
func TestProvisioned(t *testing.T) {
	find := func(file, pattern string) string {
		t.Helper()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindStringSubmatch(string(data))
		if found == nil {
			t.Fatalf("%s has no %s", file, pattern)
		}
		return found[1]
	}
	mounted := find("../../docker-compose.yml", `- \./deploy/grafana:([^:\s]+)`)
	if got := find("provisioning/dashboards/triggerd.yml", `path: (\S+)`); got != mounted+"/"+dir {
		t.Errorf("Grafana looks for dashboards in %s, and they are in %s/%s", got, mounted, dir)
	}
	if got := find("../../docker-compose.yml", `GF_PATHS_PROVISIONING: (\S+)`); got != mounted+"/provisioning" {
		t.Errorf("Grafana looks for what is provisioned in %s", got)
	}
	name, uid := find("provisioning/datasources/prometheus.yml", `name: (\S+)`), find("provisioning/datasources/prometheus.yml", `uid: (\S+)`)
	for i := range dashboards {
		data, err := dashboards[i].encode()
		if err != nil {
			t.Fatal(err)
		}
		if want := "\"text\": \"" + name + "\",\n     \"value\": \"" + uid + "\""; !strings.Contains(string(data), want) {
			t.Errorf("%s does not begin with the data source %s (%s)", dashboards[i].name, name, uid)
		}
	}
}
