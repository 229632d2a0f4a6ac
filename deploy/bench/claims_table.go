package bench

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// ClaimsTable is what was measured of all that is claimed.
type ClaimsTable struct {
	cfg        ClaimsConfig
	conditions string
	rows       [][]claim // by number of connections, one of each round
	sustained  sustained
}

// medianOf is that of what of says of each round.
func medianOf(rounds []claim, of func(*claim) float64) float64 {
	var values []float64
	for i := range rounds {
		values = append(values, of(&rounds[i]))
	}
	return middle(values)
}

// middle is the median. It sorts values.
func middle(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (t *ClaimsTable) broken() (n int) {
	for _, rounds := range t.rows {
		for i := range rounds {
			n += rounds[i].broken
		}
	}
	return n + t.sustained.broken
}

const claimsFormat = "%11v %10v %8v %12v | %9v %9v %9v %11v %8v | %8v %8v | %8v %6v %8v\n"

// Print writes the table for a person.
func (t *ClaimsTable) Print(w io.Writer) {
	cfg := &t.cfg
	fmt.Fprintf(w, "%s; servers sync always (SyncAlways)\n%d users, triggers of one number and %d more variables of %d bytes, %d partitions, accepting, applying and emitting at once; "+
		"medians of %d rounds of %s after %s of warming up, interleaved; ratios are taken within rounds\n\n", t.conditions, cfg.Users, cfg.Vars, cfg.ValueBytes, cfg.Partitions, cfg.Rounds, cfg.Duration, cfg.WarmUp)
	fmt.Fprintf(w, claimsFormat, "", "accepted", "÷", "÷", "at half:", "accept", "accept", "readable", "not", "allocs", "B", "", "", "")
	fmt.Fprintf(w, claimsFormat, "connections", "/s", "echo", "jetstream", "/s", "p50", "p99", "p99", "sent", "/trigger", "/trigger", "refused", "lost", "doubled")
	for i, rounds := range t.rows {
		t.row(w, cfg.Connections[i], rounds)
	}
	t.printSustained(w)
	if n := t.broken(); n > 0 {
		fmt.Fprintf(w, "\nBROKEN    %d promises\n", n)
	}
}

func (t *ClaimsTable) row(w io.Writer, connections int, rounds []claim) {
	median := func(of func(*claim) float64) float64 { return medianOf(rounds, of) }
	duration := func(of func(*claim) time.Duration) string {
		return round(median(func(c *claim) float64 { return float64(of(c)) }))
	}
	var refused, lost, doubled, missed uint64
	for i := range rounds {
		refused, lost, doubled, missed = refused+rounds[i].refused, lost+rounds[i].lost, doubled+rounds[i].doubled, missed+rounds[i].missed
	}
	fmt.Fprintf(w, claimsFormat, connections,
		int(median(func(c *claim) float64 { return c.accepted })),
		fmt.Sprintf("%.2f", median(func(c *claim) float64 { return c.accepted / c.echo })),
		fmt.Sprintf("%.1f", median(func(c *claim) float64 { return c.accepted / c.jetStream })),
		int(median(func(c *claim) float64 { return c.half })),
		duration(func(c *claim) time.Duration { return c.p50 }),
		duration(func(c *claim) time.Duration { return c.p99 }),
		duration(func(c *claim) time.Duration { return c.readable }), missed,
		fmt.Sprintf("%.1f", median(func(c *claim) float64 { return c.allocs })),
		int(median(func(c *claim) float64 { return c.bytes })), refused, lost, doubled)
}

func (t *ClaimsTable) printSustained(w io.Writer) {
	s := &t.sustained
	second, last := s.quarters(ownMemory)
	secondAll, lastAll := s.quarters(allMemory)
	growth := "flat"
	if !s.flat() {
		growth = "GROWING"
	}
	fmt.Fprintf(w, "\nsustained for %s over %d connections, closed loop\n", t.cfg.For, t.cfg.steady())
	fmt.Fprintf(w, "  accepted %.0f/s, applied %.0f/s meanwhile (%.3f); oldest record not applied: p50 %s, p99 %s, max %s; refused %d, lost %d, doubled %d\n",
		s.accepted, s.applied, s.applied/s.accepted, round(float64(s.oldestAt(0.5))), round(float64(s.oldestAt(0.99))), round(float64(s.oldestAt(1))),
		s.refused, s.lost, s.doubled)
	fmt.Fprintf(w, "  memory of the server: %.0f MiB in the second quarter, %.0f MiB in the last one: %s; with the pages of its files that are mapped: %.0f and %.0f MiB; heap after a collection %d MiB before, %d MiB after\n",
		second/(1<<20), last/(1<<20), growth, secondAll/(1<<20), lastAll/(1<<20), s.heapBegin>>20, s.heapEnd>>20)
}
