package docker

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"

	"github.com/triggerd/triggerd/deploy/setup"
	"github.com/triggerd/triggerd/deploy/standalone"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// Secrets are files, in volumes that only their readers have. A variable may name such a file.
func TestSecretsAreFiles(t *testing.T) {
	readers := map[string]string{"nats-1": "keys-nats", "nats-2": "keys-nats", "nats-3": "keys-nats", "ingress": "keys-ingress", "worker": "keys-worker",
		"grafana": "keys-grafana", "admin": "keys-operator", "operator": "keys-operator", "loadgen": "keys-operator"}
	each(t, func(t *testing.T, name string, s service) {
		for variable, value := range s.Environment {
			if regexp.MustCompile(`PASSWORD|TOKEN|SECRET|SEED|NKEY|SIGNING|CREDENTIALS`).MatchString(variable) && !strings.HasPrefix(value, "/keys/") {
				t.Errorf("%s is not a file of /keys", variable)
			}
		}
		for _, volume := range s.Volumes {
			from, to, _ := strings.Cut(volume, ":")
			if !strings.HasPrefix(from, "keys-") || name == "setup" {
				continue
			}
			if from != readers[name] || to != "/keys:ro" && (name != "admin" || to != "/keys") {
				t.Errorf("mounts %s at %s", from, to)
			}
		}
	})
}

// A variable that no process knows would keep it from starting; one that it cannot understand too.
func TestProcessesKnowTheirVariables(t *testing.T) {
	parts := map[string][]config.Part{
		"ingress":    {&ingress.Config{}, &process.Config{}, &process.Remote{}, new(process.SyncRule)},
		"worker":     {&worker.OwnConfig{}, &process.Config{}, &process.Remote{}, new(process.SyncRule)},
		"standalone": {&standalone.Config{}},
	}
	images := read(t, "deploy/docker/Dockerfile")
	services := load(t).Services
	for name, own := range parts {
		_, stage, _ := strings.Cut(images, "FROM base AS "+name+"\n")
		stage, _, _ = strings.Cut(stage, "\nFROM ")
		environ := regexp.MustCompile(`TRIGGERD_\S+`).FindAllString(stage, -1)
		if len(environ) == 0 {
			t.Fatalf("image of %s has no variables", name)
		}
		for variable, value := range services[name].Environment {
			environ = append(environ, variable+"="+value)
		}
		err := config.Load(name, nil, environ, io.Discard, own...)
		for _, line := range strings.Split(fmt.Sprint(err), "\n") {
			if err != nil && !strings.Contains(line, "no such file") { // the secrets are in their volumes
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}

// Every server is told to sync always, in a cluster of as many as there are copies, and knows the keys that setup makes.
func TestServersSyncAlways(t *testing.T) {
	services := load(t).Services
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nats.conf"), []byte(read(t, "deploy/docker/nats.conf")), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, err := filepath.Abs(filepath.Join(root, "deploy", "nats"))
	if err == nil {
		err = os.Symlink(ours, filepath.Join(dir, "triggerd"))
	}
	if err == nil {
		_, err = setup.Run(setup.Config{Dir: filepath.Join(dir, "keys")})
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(filepath.Join(dir, "keys", "nats", "nats.env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(keys) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(line)), "export "), "=")
		t.Setenv(name, value)
	}
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} {
		s := services[name]
		for variable, value := range s.Environment {
			t.Setenv(variable, value)
		}
		for _, mount := range []string{"./deploy/docker/nats.conf:/etc/nats/nats.conf:ro", "./deploy/nats:/etc/nats/triggerd:ro", name + ":/data"} {
			if !slices.Contains(s.Volumes, mount) {
				t.Errorf("%s does not mount %s", name, mount)
			}
		}
		// js-server-only would be healthy also when it has been cut off from all others.
		if check := strings.Join(s.Healthcheck.Test, " "); !strings.Contains(check, "http://127.0.0.1:8222/healthz?js-meta-only=true") {
			t.Errorf("%s is asked how it is by %s", name, check)
		}
		opts, err := server.ProcessConfigFile(filepath.Join(dir, "nats.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if !opts.SyncAlways || !opts.JetStream || opts.StoreDir != "/data" || opts.ServerName != name || len(opts.Routes) != 3 {
			t.Errorf("%s: syncs always %v, keeps in %q, is %q, routes %v", name, opts.SyncAlways, opts.StoreDir, opts.ServerName, opts.Routes)
		}
		if opts.HTTPHost != "127.0.0.1" || len(opts.Nkeys) != 4 {
			t.Errorf("%s: monitoring on %q, knows %d keys", name, opts.HTTPHost, len(opts.Nkeys))
		}
	}
	for _, name := range []string{"ingress", "worker"} {
		if services[name].Environment["TRIGGERD_REPLICAS"] != "3" {
			t.Errorf("%s keeps %q copies", name, services[name].Environment["TRIGGERD_REPLICAS"])
		}
	}
}

// Keys come before the servers, and all servers before the streams are made: with one missing each of them would wait for an election.
func TestStartingHasAnOrder(t *testing.T) {
	services := load(t).Services
	waits := func(name, on, condition string) {
		t.Helper()
		var dependency struct{ Condition string }
		node := keys(services[name].DependsOn)[on]
		if err := node.Decode(&dependency); err != nil || dependency.Condition != condition {
			t.Errorf("%s does not wait for %s to be %s: %v %v", name, on, condition, dependency, err)
		}
	}
	for _, server := range []string{"nats-1", "nats-2", "nats-3"} {
		waits(server, "setup", "service_completed_successfully")
		waits("ingress", server, "service_healthy")
		waits("worker", server, "service_healthy")
	}
}

// Two of each, in settings that allow more.
func TestReplicas(t *testing.T) {
	services := load(t).Services
	if services["ingress"].Scale != 2 || services["worker"].Scale != 2 {
		t.Errorf("ingress ×%d, worker ×%d", services["ingress"].Scale, services["worker"].Scale)
	}
	if homes, err := strconv.Atoi(services["worker"].Environment["TRIGGERD_DATA_HOMES"]); err != nil || homes < 16 {
		t.Errorf("workers share one volume, with %d homes: %v", homes, err)
	}
}

// A process that is told to stop is given the time that it takes at most, and one that uses much memory is told to collect garbage before it is killed.
func TestLimitsFitTogether(t *testing.T) {
	services := load(t).Services
	least := map[string]time.Duration{"ingress": ingress.DefaultDrainTimeout + 3*time.Second, "worker": worker.DefaultLeaveTimeout + 10*time.Second,
		"standalone": ingress.DefaultDrainTimeout + 10*time.Second}
	for name, want := range least {
		if got, err := time.ParseDuration(services[name].StopGracePeriod); err != nil || got < want {
			t.Errorf("%s is killed after %v, and may take %s: %v", name, got, want, err)
		}
	}
	size := func(text string) (n config.Bytes) {
		text = strings.NewReplacer("m", "MiB", "g", "GiB").Replace(text) // Docker's and Go's
		if err := n.Set(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return n
	}
	for name, s := range services {
		if soft := s.Environment["GOMEMLIMIT"]; soft != "" && size(soft) >= size(s.MemLimit) {
			t.Errorf("%s: GOMEMLIMIT is %s, the limit %s", name, soft, s.MemLimit)
		}
	}
}

// The proxy finds ingresses by a name that exists, takes one out before it has drained, and never sends a request twice.
func TestProxy(t *testing.T) {
	cfg := read(t, "deploy/docker/haproxy.cfg")
	front := keys(load(t).Services["ingress"].Networks)["front"]
	var network struct{ Aliases []string }
	if err := front.Decode(&network); err != nil || len(network.Aliases) != 1 || !strings.Contains(cfg, " "+network.Aliases[0]+":8080 ") {
		t.Errorf("ingresses are %v, %v", network.Aliases, err)
	}
	for _, rule := range regexp.MustCompile(`(?m)^\s*retry-on (.*)$`).FindAllStringSubmatch(cfg, -1) {
		if rule[1] != "conn-failure" {
			t.Errorf("it sends again after %s: a trigger could be stored twice", rule[1])
		}
	}
	every := regexp.MustCompile(`inter (\S+) fall (\d+)`).FindStringSubmatch(cfg)
	inter, err := time.ParseDuration(every[1])
	fall, _ := strconv.Atoi(every[2])
	delay, errDelay := time.ParseDuration(load(t).Services["ingress"].Environment["TRIGGERD_HTTP_DRAIN_DELAY"])
	if err != nil || errDelay != nil || delay < 2*inter*time.Duration(fall) {
		t.Errorf("the proxy notices after %v × %d, an ingress waits %v", inter, fall, delay)
	}
}

// Prometheus finds all replicas, and all rules.
func TestPrometheusFindsTheServices(t *testing.T) {
	var prometheus struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Name string `yaml:"job_name"`
			DNS  []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/prometheus.yml")), &prometheus); err != nil {
		t.Fatal(err)
	}
	services, found := load(t).Services, map[string]int{}
	for _, job := range prometheus.Scrape {
		for _, dns := range job.DNS {
			_, watched := keys(services[dns.Names[0]].Networks)["watch"]
			if dns.Names[0] != job.Name || !watched {
				t.Errorf("job %s asks %v, which is on watch: %v", job.Name, dns.Names, watched)
			}
			found[job.Name] = dns.Port
		}
	}
	if found["ingress"] != 9090 || found["worker"] != 9090 || found["proxy"] != 8404 {
		t.Errorf("it scrapes %v", found)
	}
	for _, pattern := range prometheus.RuleFiles {
		if files, err := filepath.Glob(filepath.Join(root, "deploy/prometheus", pattern)); err != nil || len(files) == 0 {
			t.Errorf("no rules are in %s", pattern)
		}
	}
}
