package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

var update = flag.Bool("update", false, "write the golden files")

// judge holds values against the chart's schema.
func judge(t *testing.T, v values) error {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	schema, errSchema := jsonschema.UnmarshalJSON(strings.NewReader(read(t, filepath.Join(chart, "values.schema.json"))))
	compiler := jsonschema.NewCompiler()
	if err := errors.Join(err, errSchema, compiler.AddResource("values.json", schema)); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("values.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(document)
}

// What is rendered changes only on purpose: go test ./deploy/helm -update.
func TestGolden(t *testing.T) {
	for _, name := range []string{"default", "all"} {
		objects, err := render(t, read(t, filepath.Join("testdata", name+".values.yaml")))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		e := yaml.NewEncoder(&got)
		e.SetIndent(2)
		for _, o := range objects {
			if o.at("kind") == "PrometheusRule" { // they are long, and compared with deploy/prometheus by another test
				o["spec"] = "see rules"
			}
			err = errors.Join(err, e.Encode(o))
		}
		golden := filepath.Join("testdata", name+".golden.yaml")
		if *update {
			err = errors.Join(err, os.WriteFile(golden, got.Bytes(), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := read(t, golden); got.String() != want {
			t.Errorf("%s is rendered otherwise than %s:\n%s", name, golden, got.String())
		}
	}
}

// Values that cannot work are refused before anything is installed, by the schema or by what the templates check.
func TestBadValuesAreRefused(t *testing.T) {
	for _, bad := range []string{
		"ingres: {}", "ingress: { identity: { seed: SU } }", "ingress: { replica: 3 }", "deployment: { partitions: 0 }", "deployment: { replicas: 2 }", "deployment: { partitions: four }",
		"settings: { max-vars: 200 }", "settings: { Max-Vars: '200' }", "settings: { partitions: '8' }", "worker: { settings: { data-dir: /tmp } }",
		"nats: { url: '' }", "nats: { url: 'nats://user:secret@nats:4222' }", "ingress: { keys: { secret: '', url: 'http://keys' } }", "worker: { storage: { size: 20 } }",
		"worker: { goMemLimit: 2G }", "watchdogAfterSeconds: 1", "worker: { keda: { stabilizationSeconds: 5 } }", "image: { pullPolicy: Sometimes }",
		// by the templates
		"worker: { replicas: 5 }", "worker: { keda: { enabled: true, minReplicas: 5 } }", "ingress: { autoscaling: { enabled: true, minReplicas: 11 } }",
		"ingress: { keys: { url: 'https://keys' } }", "ingress: { keys: { secret: '' } }",
	} {
		if _, err := render(t, bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, err := render(t, "global: { any: thing }"); err != nil { // helm's own, for charts within charts
		t.Errorf("global: %v", err)
	}
}

const (
	deployment  = "Deployment triggerd-ingress"
	statefulSet = "StatefulSet triggerd-worker"
)

// pods are the two that run something, in both variants of the values.
func pods(t *testing.T, each func(t *testing.T, binary string, o object, container object)) {
	for _, name := range []string{"default", "all"} {
		all := mustRender(t, read(t, filepath.Join("testdata", name+".values.yaml")))
		for id, binary := range map[string]string{deployment: "ingress", statefulSet: "worker"} {
			t.Run(name+" "+binary, func(t *testing.T) {
				each(t, binary, all[id], object(all[id].at("spec", "template", "spec", "containers", 0).(values)))
			})
		}
	}
}

// environ is what a container's process finds.
func environ(t *testing.T, container object) (all []string) {
	t.Helper()
	seen := map[any]bool{}
	for _, one := range container.at("env").([]any) {
		name, value := object(one.(values)).at("name"), object(one.(values)).at("value")
		if _, isText := value.(string); !isText || seen[name] {
			t.Errorf("%v is %v: given twice, or no text", name, value)
		}
		seen[name] = true
		all = append(all, fmt.Sprintf("%s=%s", name, value))
	}
	return all
}

// A variable that a process does not know would keep it from starting, and one that it cannot understand too. What names a file is in a volume that is mounted.
func TestProcessesKnowTheirVariables(t *testing.T) {
	parts := map[string]func() []config.Part{"ingress": func() []config.Part { return process.Parts(&ingress.Config{}) },
		"worker": func() []config.Part { return process.Parts(&worker.OwnConfig{}) }}
	pods(t, func(t *testing.T, binary string, o, container object) {
		vars := environ(t, container)
		err := config.Load(binary, nil, vars, io.Discard, parts[binary]()...)
		for _, line := range strings.Split(fmt.Sprint(err), "\n") {
			if err != nil && !strings.Contains(line, "no such file") && !strings.Contains(line, "data-dir") {
				t.Errorf("%s", line)
			}
		}
		mounted := map[string]bool{}
		for _, m := range container.at("volumeMounts").([]any) {
			mount := object(m.(values))
			mounted[mount.at("mountPath").(string)] = true
			if mount.at("name") != "data" && !slices.ContainsFunc(o.at("spec", "template", "spec", "volumes").([]any), func(v any) bool { return object(v.(values)).at("name") == mount.at("name") }) {
				t.Errorf("nothing is mounted at %s", mount.at("mountPath"))
			}
		}
		for _, one := range vars {
			if _, file, _ := strings.Cut(one, "="); strings.HasPrefix(file, "/") && !mounted[file] && !mounted[filepath.Dir(file)] {
				t.Errorf("%s is in no volume", one)
			}
		}
	})
}

// Nobody is root, nothing is written but to the volume, and nothing that is secret is in a variable.
func TestPodsAreConfined(t *testing.T) {
	pods(t, func(t *testing.T, _ string, o, container object) {
		pod := func(path ...any) any { return o.at(append([]any{"spec", "template", "spec"}, path...)...) }
		for what, ok := range map[string]bool{
			"root":               pod("securityContext", "runAsNonRoot") == true && pod("securityContext", "runAsUser") == 65532,
			"seccomp":            pod("securityContext", "seccompProfile", "type") == "RuntimeDefault",
			"token":              pod("automountServiceAccountToken") == false,
			"service links":      pod("enableServiceLinks") == false,
			"root filesystem":    container.at("securityContext", "readOnlyRootFilesystem") == true,
			"escalation":         container.at("securityContext", "allowPrivilegeEscalation") == false,
			"capabilities":       fmt.Sprint(container.at("securityContext", "capabilities", "drop")) == "[ALL]",
			"liveness":           container.at("livenessProbe", "httpGet", "path") == "/livez" && container.at("startupProbe", "httpGet", "path") == "/livez",
			"readiness":          container.at("readinessProbe", "httpGet", "path") == "/readyz",
			"memory":             container.at("resources", "limits", "memory") != nil,
			"topology":           len(pod("topologySpreadConstraints").([]any)) == 2,
			"secrets' file mode": !strings.Contains(fmt.Sprint(pod("volumes")), "defaultMode:420"),
		} {
			if !ok {
				t.Errorf("%s is not as it should be", what)
			}
		}
	})
}

// Who is told to stop is given the time that it takes.
func TestGracePeriods(t *testing.T) {
	all := mustRender(t, "ingress: { drainDelaySeconds: 7, drainTimeoutSeconds: 30 }\nworker: { leaveTimeoutSeconds: 40, drainTimeoutSeconds: 20 }")
	for id, least := range map[string]int{deployment: 7 + 30 + 5, statefulSet: 40 + 20 + 5} {
		if got := all[id].at("spec", "template", "spec", "terminationGracePeriodSeconds").(int); got < least {
			t.Errorf("%s is killed after %d s, and may take %d", id, got, least-5)
		}
	}
}

// Whoever scales decides how many there are, and there are never more workers than partitions. Steps are further apart than the time in which a member is missed.
func TestScaling(t *testing.T) {
	all := mustRender(t, read(t, filepath.Join("testdata", "all.values.yaml")))
	for _, id := range []string{deployment, statefulSet} {
		if n := all[id].at("spec", "replicas"); n != nil {
			t.Errorf("%s says %v", id, n)
		}
	}
	scaled := all["ScaledObject triggerd-worker"]
	if scaled.at("spec", "maxReplicaCount") != 8 || scaled.at("spec", "scaleTargetRef", "name") != "triggerd-worker" {
		t.Errorf("workers are scaled as %v", scaled.at("spec"))
	}
	behaviour := []any{"spec", "advanced", "horizontalPodAutoscalerConfig", "behavior"}
	for _, way := range []string{"scaleUp", "scaleDown"} {
		if s := scaled.at(append(behaviour, way, "stabilizationWindowSeconds")...).(int); time.Duration(s)*time.Second <= 2*broker.DefaultMemberTTL {
			t.Errorf("%s after %d s", way, s)
		}
	}
	if scaled.at("spec", "triggers", 0, "metadata", "query") != `max(triggerd_worker_oldest_unapplied_seconds{namespace="triggers"})` {
		t.Errorf("workers are scaled by %v", scaled.at("spec", "triggers"))
	}
	fixed := mustRender(t, "{}")
	if fixed[deployment].at("spec", "replicas") != 2 || fixed[statefulSet].at("spec", "replicas") != 2 || fixed["ScaledObject triggerd-worker"] != nil {
		t.Error("without scaling the numbers are not those of the values")
	}
	if fixed[statefulSet].at("spec", "podManagementPolicy") != "Parallel" {
		t.Error("workers wait for each other")
	}
	for _, id := range []string{"PodDisruptionBudget triggerd-ingress", "PodDisruptionBudget triggerd-worker"} {
		if fixed[id].at("spec", "maxUnavailable") != 1 {
			t.Errorf("%s is %v", id, fixed[id].at("spec"))
		}
	}
}

// The admin port, with its profiles, is for monitoring alone; out goes only what has to.
func TestNetworkPolicies(t *testing.T) {
	for top, want := range map[string][]int{"{}": {53, 53, 4222}, "ingress: { keys: { secret: '', url: 'https://keys' } }": {53, 53, 4222, 443}} {
		all := mustRender(t, top)
		var ports []int
		for _, rule := range all["NetworkPolicy triggerd-ingress"].at("spec", "egress").([]any) {
			for _, port := range object(rule.(values)).at("ports").([]any) {
				ports = append(ports, object(port.(values)).at("port").(int))
			}
		}
		if !slices.Equal(ports, want) {
			t.Errorf("%s: an ingress may go to %v, not %v", top, ports, want)
		}
	}
	for _, id := range []string{"NetworkPolicy triggerd-ingress", "NetworkPolicy triggerd-worker"} {
		for _, rule := range mustRender(t, "{}")[id].at("spec", "ingress").([]any) {
			r := object(rule.(values))
			if from := r.at("from", 0, "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name"); r.at("ports", 0, "port") == "admin" && from != "monitoring" ||
				id == "NetworkPolicy triggerd-worker" && r.at("ports", 0, "port") != "admin" {
				t.Errorf("%s: in comes %v", id, rule)
			}
		}
	}
}

// The rules are those of deploy/prometheus, all of them. helm reads only what is in the chart, and follows a link that is there.
func TestRulesAreThoseOfPrometheus(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "prometheus", "rules", "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("rules are %v, %v", names, err)
	}
	all := mustRender(t, "monitoring: { rules: true }")
	for _, name := range names {
		kind := strings.TrimSuffix(filepath.Base(name), ".yml")
		if got, want := fmt.Sprint(all["PrometheusRule triggerd-"+kind].at("spec")), fmt.Sprint(parse(t, read(t, name))); got != want {
			t.Errorf("%s is not rendered, or as something else", name)
		}
	}
}

// Prometheus calls what it scrapes as docker-compose.yml's does, and finds both.
func TestServiceMonitorFindsBoth(t *testing.T) {
	all := mustRender(t, "monitoring: { serviceMonitor: true }")
	monitor := all["ServiceMonitor triggerd"]
	found := map[any]bool{}
	for _, o := range all {
		matches := o.at("kind") == "Service"
		for label, want := range monitor.at("spec", "selector", "matchLabels").(values) {
			matches = matches && o.at("metadata", "labels", label) == want
		}
		if matches {
			found[o.at("metadata", "labels", monitor.at("spec", "jobLabel"))] = true
			if o.at("spec", "ports", 0, "name") != monitor.at("spec", "endpoints", 0, "port") {
				t.Errorf("%s has no port %v", o.id(), monitor.at("spec", "endpoints", 0, "port"))
			}
		}
	}
	if len(found) != 2 || !found["ingress"] || !found["worker"] {
		t.Errorf("it finds %v", found)
	}
}
