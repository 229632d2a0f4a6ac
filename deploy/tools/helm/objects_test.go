// Package helm_test holds what the chart renders against Kubernetes' own types. It is a module of its own, as helm is, because both take minutes to compile.
package helm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// kinds are those that are Kubernetes' own. Others are those of operators, whose types are not here.
func kinds() map[string]any {
	return map[string]any{
		"Deployment": &apps.Deployment{}, "StatefulSet": &apps.StatefulSet{}, "Service": &core.Service{}, "ServiceAccount": &core.ServiceAccount{},
		"PodDisruptionBudget": &policy.PodDisruptionBudget{}, "HorizontalPodAutoscaler": &autoscaling.HorizontalPodAutoscaler{},
		"NetworkPolicy": &networking.NetworkPolicy{},
	}
}

var operators = map[string]bool{"ScaledObject": true, "ServiceMonitor": true, "PrometheusRule": true}

// A field that Kubernetes does not know would be dropped by it, or refused.
func TestKubernetesKnowsEveryField(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "helm", "testdata", "*.golden.yaml"))
	if err != nil || len(names) != 2 {
		t.Fatalf("golden files are %v, %v", names, err)
	}
	seen := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			var about struct{ Kind string }
			if err := yaml.Unmarshal(document, &about); err != nil {
				t.Fatal(err)
			}
			typed := kinds()[about.Kind]
			seen[about.Kind] = true
			if typed == nil && !operators[about.Kind] {
				t.Errorf("%s: nobody knows %s", name, about.Kind)
			} else if typed != nil {
				if err := yaml.UnmarshalStrict(document, typed); err != nil {
					t.Errorf("%s: %s: %v", name, about.Kind, err)
				}
			}
		}
	}
	for kind := range kinds() {
		if !seen[kind] {
			t.Errorf("%s is not rendered", kind)
		}
	}
}
