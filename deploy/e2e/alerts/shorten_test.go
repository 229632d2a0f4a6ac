package alerts

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Durations of the rules are divided by shorter. What is left is not under leastRange in a range, which must hold some scrapes.
const (
	shorter     = 120
	scrapeEvery = 500 * time.Millisecond
	leastRange  = 3 * scrapeEvery
)

var (
	ranges   = regexp.MustCompile(`\[(\d+[smhd])(?::(\d+[smhd]))?\]`)
	patience = regexp.MustCompile(`(?m)^(\s+for: )(\d+[smhd])$`)
)

// shorten divides the durations of rules: ranges, those of subqueries too, and how long an alert waits.
func shorten(rules string) string {
	rules = ranges.ReplaceAllStringFunc(rules, func(text string) string {
		m := ranges.FindStringSubmatch(text)
		if m[2] == "" {
			return fmt.Sprintf("[%s]", shortened(m[1], leastRange))
		}
		return fmt.Sprintf("[%s:%s]", shortened(m[1], leastRange), shortened(m[2], scrapeEvery))
	})
	return patience.ReplaceAllStringFunc(rules, func(text string) string {
		m := patience.FindStringSubmatch(text)
		return m[1] + shortened(m[2], scrapeEvery)
	})
}

// shortened is a duration of Prometheus, divided.
func shortened(text string, least time.Duration) string {
	n, err := strconv.Atoi(text[:len(text)-1])
	if err != nil {
		panic(err) // the pattern has digits only
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[len(text)-1]]
	return strconv.FormatInt(max(time.Duration(n)*unit/shorter, least).Milliseconds(), 10) + "ms"
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{
		"rate(a:rate5m[5m]) > 0.5":               "rate(a:rate5m[2500ms]) > 0.5",
		"max_over_time(a[1m])":                   "max_over_time(a[1500ms])",
		"max_over_time(sum(a)[1d:5m])":           "max_over_time(sum(a)[720000ms:2500ms])",
		"        for: 15m\n        labels: {}\n": "        for: 7500ms\n        labels: {}\n",
		"x{partition=\"5m\"} / 120":              "x{partition=\"5m\"} / 120",
	} {
		if got := shorten(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// writeRules puts the shortened rules into a directory. Each file of the rules must be there, or an alert that is waited for would never come.
func writeRules(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("../../prometheus/rules/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("rules: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		short := shorten(string(text))
		if strings.Contains(short, "for: 1m\n") {
			t.Fatal("a duration was not shortened")
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(short), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
