package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// What is measured, in the order of the table.
const (
	nothing  = "nothing happens: longest without an answer"
	planned  = "planned move: longest without an answer"
	takeover = "owner is killed: longest without an answer"
	refilled = "empty disk: until it serves or follows all its partitions"
)

// plannedClaim is what a planned move may cost at most.
const plannedClaim = 250 * time.Millisecond

// takeoverSlack is what a takeover may cost at most, beyond the time to live of a member.
const takeoverSlack = time.Second

// timing is one measured time, and of what.
type timing struct {
	took    time.Duration
	machine time.Duration // longest time for which meanwhile nothing was answered at all
	what    string
}

// measurements are timings by what is measured.
type measurements map[string][]timing

func (m measurements) add(kind string, t timing) { m[kind] = append(m[kind], t) }

// note adds the time for which a partition was without an answer.
func (f *Fleet) note(kind string, p int, format string, args ...any) {
	f.measured.add(kind, timing{f.answers.longest()[p], f.machine.longest()[0], fmt.Sprintf(format, args...)})
}

// claim is a promise about the worst of some samples; zero: there is none.
type claim struct {
	kind string
	most time.Duration
}

// Report is a table of all that was measured. A claim that does not hold is marked there, and the samples against it are listed.
func (f *Fleet) Report() string {
	return f.measured.table(fmt.Sprintf("%d idle users, %d partitions", f.cfg.Users, f.cfg.Partitions),
		claim{nothing, 0}, claim{planned, plannedClaim}, claim{takeover, f.cfg.MemberTTL + takeoverSlack}, claim{refilled, 0})
}

func (m measurements) table(title string, claims ...claim) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tcount\tmedian\tworst\tclaim\n", title)
	var against []string
	for _, c := range claims {
		samples := slices.SortedFunc(slices.Values(m[c.kind]), func(x, y timing) int { return int(x.took - y.took) })
		if len(samples) == 0 {
			fmt.Fprintf(w, "%s\t0\t\t\t%s\n", c.kind, c.verdict(0, 0))
			continue
		}
		broken := 0
		for _, s := range samples {
			if c.most > 0 && s.took > c.most {
				broken++
				against = append(against, fmt.Sprintf("%s: %s: %s, an ingress that asks nobody: %s", c.kind, s.what, rounded(s.took), rounded(s.machine)))
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", c.kind, len(samples), rounded(samples[len(samples)/2].took), rounded(samples[len(samples)-1].took),
			c.verdict(len(samples), broken))
	}
	w.Flush()
	return text.String() + strings.Join(against, "\n")
}

// verdict is the last column.
func (c claim) verdict(all, broken int) string {
	switch {
	case c.most == 0:
		return ""
	case all == 0:
		return fmt.Sprintf("at most %s: not measured", c.most)
	case broken > 0:
		return fmt.Sprintf("at most %s: DOES NOT HOLD, %d of %d", c.most, broken, all)
	}
	return fmt.Sprintf("at most %s: holds", c.most)
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// owners are the workers that serve the partitions; nil: nobody does, or it cannot be told.
func (f *Fleet) owners(ctx context.Context) []*process {
	owners := make([]*process, f.cfg.Partitions)
	for _, page := range f.partitions(ctx) {
		if page.State == "serving" {
			owners[page.Partition] = page.worker
		}
	}
	return owners
}

// move is a step that moves partitions without need. In the long form it lasts until the new standbys have caught up: building one up is part of a
// move, and must not keep the owner from answering. It counts if every partition had a standby before.
func (f *Fleet) move(ctx context.Context, what string, blow func(context.Context) error) error {
	before, whole := f.owners(ctx), f.settled(ctx)
	if err := f.stepAndSettle(ctx, what, blow); err != nil || !whole {
		return err
	}
	for p, after := range f.owners(ctx) {
		if after != nil && before[p] != nil && after != before[p] {
			f.note(planned, p, "%s, partition %d from %s to %s", what, p, before[p].name, after.name)
		}
	}
	return nil
}

// loss is a step that takes a worker away without warning. It counts if every partition had a standby before.
func (f *Fleet) loss(ctx context.Context, what string, w *process, blow func(context.Context) error) error {
	before, whole := f.owners(ctx), f.settled(ctx)
	if err := f.stepAndSettle(ctx, what, blow); err != nil || !whole {
		return err
	}
	for p, owner := range before {
		if owner == w {
			f.note(takeover, p, "%s, partition %d", what, p)
		}
	}
	return nil
}

// refill is a step in which a worker begins with an empty disk.
func (f *Fleet) refill(ctx context.Context, what string, blow func(context.Context) error) error {
	begun := time.Now()
	if err := f.stepAndSettle(ctx, what, blow); err != nil {
		return err
	}
	if f.cfg.Settle {
		f.measured.add(refilled, timing{took: time.Since(begun), what: what})
	}
	return nil
}

// stepAndSettle is a step and, if that is wanted, the time until every partition has its standby.
func (f *Fleet) stepAndSettle(ctx context.Context, what string, blow func(context.Context) error) error {
	if err := f.step(ctx, what, blow); err != nil || !f.cfg.Settle {
		return err
	}
	ctx, cancel := f.patient(ctx)
	defer cancel()
	begun := time.Now()
	if err := poll(ctx, what+": all standbys", func() bool { return f.settled(ctx) }); err != nil {
		return err
	}
	f.cfg.Log("%-44s standbys after another %dms; longest without an answer [%v]", what, time.Since(begun).Milliseconds(), f.answers)
	return nil
}

// settled: every partition is served by one worker, followed by another one if there is any, and nobody else has anything to do with it.
func (f *Fleet) settled(ctx context.Context) bool {
	serving, following, other := make([]int, f.cfg.Partitions), make([]int, f.cfg.Partitions), 0
	for _, page := range f.partitions(ctx) {
		switch page.State {
		case "serving":
			serving[page.Partition]++
		case "following":
			following[page.Partition]++
		default:
			other++
		}
	}
	standbys := min(1, len(running(f.workers))-1)
	for p := range serving {
		if serving[p] != 1 || following[p] != standbys {
			return false
		}
	}
	return other == 0
}

// Calm measures for a while how long partitions are without an answer when nothing happens to them: what the machine itself does.
func (f *Fleet) Calm(ctx context.Context, d time.Duration) {
	f.answers.reset()
	f.machine.reset()
	pause(ctx, d)
	for p := range f.cfg.Partitions {
		f.note(nothing, p, "partition %d", p)
	}
	f.cfg.Log("nothing happened for %s; longest without an answer [%v]", d, f.answers)
}
