package prometheus

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule is one of a file. The files are written in one way (block scalars, quoted annotations), so that they can be read without a YAML library; promtool reads them as
// Prometheus does.
type rule struct {
	alert, record string
	expr          string
	labels        map[string]string // and annotations
}

var (
	head  = regexp.MustCompile(`^      - (alert|record): (\S+)$`)
	field = regexp.MustCompile(`^ {8,10}(\w+): (.+)$`)
)

func readRules(t *testing.T, file string) (rules []rule) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("rules", file))
	if err != nil {
		t.Fatal(err)
	}
	inExpr := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if m := head.FindStringSubmatch(line); m != nil {
			rules = append(rules, rule{labels: map[string]string{}})
			if m[1] == "alert" {
				rules[len(rules)-1].alert = m[2]
			} else {
				rules[len(rules)-1].record = m[2]
			}
			continue
		}
		if len(rules) == 0 {
			continue
		}
		r := &rules[len(rules)-1]
		switch {
		case line == "        expr: |":
			inExpr = true
		case inExpr && strings.HasPrefix(line, "          "):
			r.expr += strings.TrimSpace(line) + "\n"
		default:
			inExpr = false
			if m := field.FindStringSubmatch(line); m != nil {
				r.labels[m[1]] = strings.Trim(m[2], "'")
			}
		}
	}
	if len(rules) < 20 {
		t.Fatalf("%s: only %d rules could be read", file, len(rules))
	}
	return rules
}

const runbook = "https://github.com/triggerd/triggerd/blob/main/deploy/RUNBOOK.md#"

// Whoever is woken must find what it means and what to type; and the runbook has no section for what alerts nobody.
func TestEveryAlertHasItsSection(t *testing.T) {
	sections := alertSections(t)
	used := map[string]bool{}
	for _, r := range readRules(t, "alerts.yml") {
		if s := r.labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity is %q, want page or ticket", r.alert, s)
		}
		for _, name := range []string{"summary", "impact"} {
			if text := r.labels[name]; len(text) < 20 {
				t.Errorf("%s: %s is %q", r.alert, name, text)
			}
		}
		anchor, ok := strings.CutPrefix(r.labels["runbook_url"], runbook)
		names := sections[anchor]
		if !ok || !slices.Contains(names, r.alert) {
			t.Errorf("%s: runbook_url %q is no section with its name", r.alert, r.labels["runbook_url"])
		}
		used[r.alert] = true
	}
	for _, names := range sections {
		for _, name := range names {
			if !used[name] {
				t.Errorf("the runbook has a section for %s, which is no alert", name)
			}
		}
	}
}

func runbookText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	_, alerts, ok := strings.Cut(string(text), "\n## Alerts\n")
	if !ok {
		t.Fatal("the runbook has no part Alerts")
	}
	return alerts
}

// alertSections are the names in each heading of the part, by its anchor.
func alertSections(t *testing.T) map[string][]string {
	t.Helper()
	sections := map[string][]string{}
	for line := range strings.Lines(runbookText(t)) {
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok {
			sections[strings.ReplaceAll(strings.ToLower(heading), " ", "-")] = strings.Split(heading, " and ")
		}
	}
	return sections
}

// What the sections refer to exists.
func TestLinksWithinTheRunbook(t *testing.T) {
	sections := alertSections(t)
	for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(runbookText(t), -1) {
		if anchor, ok := strings.CutPrefix(m[1], "#"); ok {
			if sections[anchor] == nil {
				t.Errorf("no section %s", anchor)
			}
		} else if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Errorf("link: %v", err)
		}
	}
}

// A rule over a name that nobody records or exports never fires, and nobody notices.
func TestRulesUseWhatExists(t *testing.T) {
	exported, recorded := exportedMetrics(t), map[string]bool{}
	records := readRules(t, "recording.yml")
	for _, r := range records {
		recorded[r.record] = true
	}
	for _, r := range append(records, readRules(t, "alerts.yml")...) {
		name := r.alert + r.record
		for _, used := range regexp.MustCompile(`triggerd:[a-z0-9_]+:[a-z0-9_]+`).FindAllString(r.expr, -1) {
			if !recorded[used] {
				t.Errorf("%s uses %s, which is not recorded", name, used)
			}
		}
		for _, m := range regexp.MustCompile(`(triggerd_[a-z0-9_]+)(\{[^}]*\})?`).FindAllStringSubmatch(r.expr, -1) {
			labels, ok := exported[strings.TrimSuffix(strings.TrimSuffix(m[1], "_bucket"), "_count")]
			if !ok {
				t.Errorf("%s uses %s, which nobody exports", name, m[1])
				continue
			}
			for _, l := range regexp.MustCompile(`(\w+)(=|!=|=~|!~)"`).FindAllStringSubmatch(m[2], -1) {
				if l[1] != "le" && !slices.Contains(labels, l[1]) {
					t.Errorf("%s selects %s by %s, which it has not: %v", name, m[1], l[1], labels)
				}
			}
		}
	}
}
