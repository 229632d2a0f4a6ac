package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/config"
)

// The servers that are measured are this program, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveVerb {
		os.Exit(serveAsTold(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

func serveAsTold(args []string) int {
	var cfg ServeConfig
	err := config.Load(serveVerb, args, nil, io.Discard, &cfg)
	if err == nil {
		err = Serve(context.Background(), cfg, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Every variant must run and be driven; how fast they are is for whoever measures.
func TestCompareRunsEveryVariant(t *testing.T) {
	cfg := Config{Rounds: 2, Duration: 50 * time.Millisecond, WarmUp: 10 * time.Millisecond, Connections: 4, Users: 40,
		Partitions: Counts{1, 2}, Dir: t.TempDir()}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	table, err := Compare(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.rows) != 6 {
		t.Errorf("%d rows", len(table.rows))
	}
	for _, r := range table.rows {
		for i, m := range r.seen {
			if m.rate <= 0 || m.refused > 0 {
				t.Errorf("%s, round %d: %.0f/s, %d refused", r.name, i, m.rate, m.refused)
			}
		}
	}
	var text strings.Builder
	table.Print(&text)
	for _, want := range []string{"fsync of 4 KiB", "× jetstream", "triggerd: P = 2, applying and emitting", "2 rounds of 50ms"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// Medians of ratios within rounds, not ratios of medians: a slow round must not look like a slow server.
func TestRatiosAreTakenWithinRounds(t *testing.T) {
	base, fast := row{}, row{}
	for _, rate := range []float64{100, 10, 1} {
		base.add(measurement{rate: rate})
		fast.add(measurement{rate: 2 * rate})
	}
	if got := fast.ratio(&base); got != 2 {
		t.Errorf("ratio %g", got)
	}
	if got := base.median(func(_ int, m measurement) float64 { return m.rate }); got != 10 {
		t.Errorf("median %g", got)
	}
}

func TestCountsAreAList(t *testing.T) {
	var c Counts
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&c, "partitions", "")
	if err := fs.Parse([]string{"-partitions", "1, 4,16"}); err != nil || c.String() != "1,4,16" {
		t.Errorf("%v, %v", c, err)
	}
	for _, bad := range []string{"", "0", "1,,2", "x"} {
		if c.Set(bad) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// Every neighbour must be measured; what the ratios are is for whoever measures.
func TestFairnessMeasuresEveryNeighbour(t *testing.T) {
	cfg := FairnessConfig{Rounds: 1, Duration: 200 * time.Millisecond, Partitions: 1, FloodConnections: 4, QuietRate: 50, QuietConnections: 2,
		RateLimit: 100, FloodRate: 200, Burst: 10, Dir: t.TempDir()}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := Fairness(t.Context(), cfg, &text); err != nil {
		t.Fatal(err)
	}
	for _, n := range neighbours() {
		if !strings.Contains(text.String(), n.name) {
			t.Errorf("%q is not in\n%s", n.name, text.String())
		}
	}
}

// Every stage must come to its end; what it measures is for whoever measures.
func TestGrowthMeasuresEveryStage(t *testing.T) {
	cfg := GrowthConfig{Partitions: Counts{1, 3}, Users: Counts{60}, Duration: 50 * time.Millisecond, Connections: 4, Dir: t.TempDir()}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, partitions := range cfg.Partitions {
		g, err := measureGrowth(t.Context(), cfg, partitions, cfg.Users[0])
		if err != nil {
			t.Fatal(err)
		}
		if g.imported <= 0 || g.accepted <= 0 || g.stored <= 0 || g.checkpointMicros <= 0 || g.file == 0 || g.packed == 0 || g.restore <= 0 {
			t.Errorf("%d partitions: %+v", partitions, g)
		}
	}
}

// Everything that is claimed must be measured and audited; how it comes out is for whoever measures.
func TestClaimsMeasuresEverything(t *testing.T) {
	cfg := ClaimsConfig{Rounds: 1, Duration: 300 * time.Millisecond, For: time.Second, WarmUp: 20 * time.Millisecond, Connections: Counts{2, 8}, Users: 40, Partitions: 2,
		Dir: t.TempDir()}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	table, err := Claims(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i, rounds := range table.rows {
		c := rounds[0]
		if len(rounds) != 1 || c.echo <= 0 || c.jetStream <= 0 || c.accepted <= 0 || c.half != c.accepted/2 || c.p50 <= 0 || c.p99 < c.p50 || c.readable <= 0 ||
			c.allocs <= 0 || c.refused+c.lost+c.doubled > 0 {
			t.Errorf("%d connections: %+v", cfg.Connections[i], rounds)
		}
	}
	s := &table.sustained
	if s.accepted <= 0 || s.applied <= 0 || len(s.samples) == 0 || s.samples[0].Own == 0 || s.samples[0].RSS < s.samples[0].Own || s.heapEnd == 0 || s.lost+s.doubled+s.refused > 0 {
		t.Errorf("sustained: %+v", s)
	}
	var text strings.Builder
	table.Print(&text)
	for _, want := range []string{"fsync of 4 KiB", "SyncAlways", "sustained for 1s over 8 connections", "oldest record not applied", "memory of the server"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	if table.broken() != 0 {
		t.Errorf("%d promises broken", table.broken())
	}
	table.sustained.broken, table.rows[0][0].broken = 1, 2
	if table.broken() != 3 {
		t.Error("broken promises are not counted")
	}
}

// Memory is flat if its last quarter is as its second one; what the first one fills does not count.
func TestMemoryIsFlatOrGrows(t *testing.T) {
	list := func(mib ...uint64) (samples []look) {
		for _, n := range mib {
			samples = append(samples, look{Own: n << 20, RSS: 1 << 40})
		}
		return samples
	}
	if s := (&sustained{samples: list(10, 50, 100, 100, 101, 99, 104, 103)}); !s.flat() {
		t.Error("flat memory is called growing")
	}
	if s := (&sustained{samples: list(100, 100, 100, 100, 110, 120, 130, 140)}); s.flat() {
		t.Error("growing memory is called flat")
	}
}

func TestAgesAreSorted(t *testing.T) {
	s := &sustained{samples: []look{{Oldest: 3}, {Oldest: 1}, {Oldest: 2}}}
	if s.oldestAt(0) != 1 || s.oldestAt(0.5) != 2 || s.oldestAt(1) != 3 || (&sustained{}).oldestAt(0.99) != 0 {
		t.Error("wrong quantiles")
	}
}
