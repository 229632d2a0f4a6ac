//go:build helm

package helm

import (
	"errors"
	"flag"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var program = flag.String("helm", "helm", "helm's program")

// helm itself finds nothing wrong with the chart, renders the same, and refuses the same.
func TestHelmItself(t *testing.T) {
	for _, name := range []string{"default", "all"} {
		file := filepath.Join("testdata", name+".values.yaml")
		if out, err := exec.Command(*program, "lint", "--strict", chart, "--namespace", "triggers", "-f", file).CombinedOutput(); err != nil {
			t.Errorf("lint: %v\n%s", err, out)
		}
		out, err := exec.Command(*program, "template", "triggerd", chart, "--namespace", "triggers", "-f", file).Output()
		got, errSplit := split(out)
		if err := errors.Join(err, errSplit); err != nil {
			t.Fatalf("template: %v\n%s", err, out)
		}
		slices.SortFunc(got, func(a, b object) int { return strings.Compare(a.id(), b.id()) })
		want, err := render(t, read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("helm renders %d objects, not %d", len(got), len(want))
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("helm renders %s as\n%v, not\n%v", got[i].id(), got[i], want[i])
			}
		}
	}
	for _, bad := range []string{"ingres.replicas=2", "worker.replicas=5", "settings.max-vars=200", "nats.url=nats://user:secret@nats"} {
		if out, err := exec.Command(*program, "template", "triggerd", chart, "--set", bad).CombinedOutput(); err == nil {
			t.Errorf("%s is taken: %.300s", bad, out)
		}
	}
}
