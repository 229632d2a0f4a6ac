package grafana

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the dashboards")

const dir = "dashboards"

// The files are what this package makes, and nothing else is there: what is changed by hand would be lost.
func TestFiles(t *testing.T) {
	if *update {
		if err := Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range dashboards {
		name := filepath.Join(dir, dashboards[i].file())
		want, err := dashboards[i].encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s is not what this package makes (%v): run make dashboards", name, err)
		}
		files = slices.DeleteFunc(files, func(f string) bool { return f == name })
	}
	if len(files) > 0 {
		t.Errorf("%v: no dashboard of this package", files)
	}
}

// model is what the tests look at in a file, with the names that Grafana reads.
type model struct {
	UID, Title, Timezone, Refresh string
	SchemaVersion                 int
	Templating                    struct{ List []struct{ Name, Type string } }
	Panels                        []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		FieldConfig              struct {
			Defaults struct {
				Unit       string
				Thresholds struct{ Steps []struct{ Value *float64 } }
			}
		}
		Targets []struct {
			RefID, Expr string
			Datasource  struct{ Type, UID string }
		}
	}
}

func decoded(t *testing.T, d *dashboard) (m model) {
	t.Helper()
	data, err := d.encode()
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What every panel owes whoever reads it at night.
func TestPanels(t *testing.T) {
	for i := range dashboards {
		m := decoded(t, &dashboards[i])
		if m.UID == "" || m.Timezone != "browser" || m.SchemaVersion == 0 || m.Templating.List[0].Type != "datasource" {
			t.Errorf("%s: uid %q, time zone %q, schema %d, first variable %v", m.Title, m.UID, m.Timezone, m.SchemaVersion, m.Templating.List[0])
		}
		ids, titles := map[int]bool{}, map[string]bool{}
		for _, p := range m.Panels {
			at := m.Title + ", " + p.Title
			if p.Title == "" || titles[p.Title] || ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: id %d and title are not its own", at, p.ID)
			}
			ids[p.ID], titles[p.Title] = true, true
			if p.FieldConfig.Defaults.Unit == "" || !strings.HasSuffix(p.Description, ".") {
				t.Errorf("%s: unit %q, says %q", at, p.FieldConfig.Defaults.Unit, p.Description)
			}
			if p.GridPos.X+p.GridPos.W > columns || p.GridPos.W == 0 || p.GridPos.H == 0 {
				t.Errorf("%s: place %+v", at, p.GridPos)
			}
			for j, step := range p.FieldConfig.Defaults.Thresholds.Steps {
				if (step.Value == nil) != (j == 0) {
					t.Errorf("%s: the first bound, and no other, is for everything", at)
				}
			}
			for _, target := range p.Targets {
				if target.Datasource.UID != source || target.Datasource.Type != "prometheus" {
					t.Errorf("%s: data source %v", at, target.Datasource)
				}
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s asks nothing", at)
			}
		}
	}
}

// A variable that a dashboard does not have is sent to Prometheus as it is.
func TestVariables(t *testing.T) {
	variable := regexp.MustCompile(`\$[a-z]+`)
	for i := range dashboards {
		m := decoded(t, &dashboards[i])
		known := map[string]bool{}
		for _, v := range m.Templating.List {
			known["$"+v.Name] = true
		}
		for _, p := range m.Panels {
			for _, target := range p.Targets {
				for _, v := range variable.FindAllString(strings.ReplaceAll(target.Expr, "$__rate_interval", ""), -1) {
					if !known[v] {
						t.Errorf("%s, %s: %s is no variable of this dashboard", m.Title, p.Title, v)
					}
				}
			}
		}
	}
	if left := plain("$instance $partition $__rate_interval"); strings.Contains(left, "$") {
		t.Errorf("left: %s", left)
	}
}

// A link leads to an alert's section, or to a heading that is there.
func TestLinks(t *testing.T) {
	headings, alerts := anchors(t), alertRules(t)
	for i := range dashboards {
		for j := range dashboards[i].panels {
			p := &dashboards[i].panels[j]
			if p.section != "" && !headings[p.section] {
				t.Errorf("%s: deploy/RUNBOOK.md has no heading for %q", p.title, p.section)
			}
			for _, heading := range p.alerts {
				for a := range strings.SplitSeq(heading, " and ") {
					if want := "RUNBOOK.md#" + anchor(heading) + "\n"; !strings.Contains(alerts[a], want) {
						t.Errorf("%s: deploy/prometheus has no alert %s that leads to %s", p.title, a, want)
					}
				}
			}
			if p.section == "" && len(p.alerts) == 0 && (p.warn != 0 || p.bad != 0) {
				t.Errorf("%s has bounds, and says nothing of what to do beyond them", p.title)
			}
		}
	}
}

// Red and yellow are what the alerts of the panel compare with, and what the rules do from which these are made. 1 is where counts begin that should be 0.
func TestBounds(t *testing.T) {
	alerts, recorded := alertRules(t), rules(t, "record")
	for i := range dashboards {
		for j := range dashboards[i].panels {
			p := &dashboards[i].panels[j]
			var exprs strings.Builder
			for _, heading := range p.alerts {
				for a := range strings.SplitSeq(heading, " and ") {
					exprs.WriteString(alerts[a])
				}
			}
			for _, name := range regexp.MustCompile(`triggerd:[\w:]+`).FindAllString(exprs.String(), -1) {
				exprs.WriteString(madeOf(name, recorded))
			}
			for _, bound := range []float64{p.warn, p.bad} {
				if bound == 0 || bound == 1 {
					continue
				}
				compared := regexp.MustCompile(`([<>]=?( bool)? |le=")` + regexp.QuoteMeta(fmt.Sprintf("%g", bound)) + `\b`)
				if !compared.MatchString(exprs.String()) {
					t.Errorf("%s: none of %v compares with %g", p.title, p.alerts, bound)
				}
			}
		}
	}
}

// madeOf is the expression of a rule, with those of the rules in it.
func madeOf(name string, recorded map[string]string) string {
	expr := recorded[name]
	for _, inner := range regexp.MustCompile(`triggerd:[\w:]+`).FindAllString(expr, -1) {
		expr += madeOf(inner, recorded)
	}
	return expr
}

func alertRules(t *testing.T) map[string]string { return rules(t, "alert") }

// rules are the expressions of deploy/prometheus, by the names of alerts or of records.
func rules(t *testing.T, kind string) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../prometheus/rules/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	out, begins := map[string]string{}, regexp.MustCompile(`^\s*- (alert|record): (\S+)`)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := ""
		for line := range strings.Lines(string(data)) {
			if m := begins.FindStringSubmatch(line); m != nil {
				name = ""
				if m[1] == kind {
					name = m[2]
				}
			} else if name != "" {
				out[name] += line
			}
		}
	}
	return out
}

// anchors are the headings of the runbook as links name them.
func anchors(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("../RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	other := regexp.MustCompile(`[^a-z0-9 _-]`)
	for line := range strings.Lines(string(data)) {
		if rest := strings.TrimLeft(line, "#"); rest != line {
			out[strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(strings.TrimSpace(rest)), ""), " ", "-")] = true
		}
	}
	return out
}
