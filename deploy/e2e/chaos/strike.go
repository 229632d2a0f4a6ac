package chaos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Nemesis hurts a fleet and heals it.
type Nemesis struct {
	Name  string
	Often int  // in a round of random ones
	Long  bool // left to the long form: another one is its small form
	Run   func(ctx context.Context, f *Fleet, rng *rand.Rand) error
}

// Strike runs a nemesis to its end.
func (f *Fleet) Strike(ctx context.Context, n Nemesis, rng *rand.Rand) error {
	if err := n.Run(ctx, f, rng); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// step is one blow of a nemesis: it waits until every partition answers and accepts again, and prints for how long each of them did not.
func (f *Fleet) step(ctx context.Context, what string, blow func(context.Context) error) error {
	ctx, cancel := f.patient(ctx)
	defer cancel()
	f.answers.reset()
	f.accepts.reset()
	f.machine.reset()
	begun := time.Now()
	if err := blow(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	struck := time.Now()
	if err := errors.Join(f.awaitServing(ctx), f.noneHalted(ctx)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	f.cfg.Log("%-44s took %5dms, whole again after %5dms; longest without an answer [%v], without accepting [%v]", what,
		struck.Sub(begun).Milliseconds(), time.Since(struck).Milliseconds(), f.answers, f.accepts)
	return nil
}

// awaitServing waits until every partition answers and accepts.
func (f *Fleet) awaitServing(ctx context.Context) error {
	const more = 2 // one may have been under way
	answers, accepts := f.answers.counts(), f.accepts.counts()
	var missing string
	err := poll(ctx, "all partitions to serve", func() bool {
		missing = ""
		a, b := f.answers.counts(), f.accepts.counts()
		for p := range f.cfg.Partitions {
			if a[p] < answers[p]+more {
				missing += fmt.Sprintf(" partition %d does not answer;", p)
			}
			if b[p] < accepts[p]+more {
				missing += fmt.Sprintf(" partition %d does not accept;", p)
			}
		}
		return missing == ""
	})
	if err != nil {
		return fmt.Errorf("%w:%s", err, missing)
	}
	return nil
}

// noneHalted: what is done to a fleet is never a reason to halt, also for a standby, whom nobody would miss.
func (f *Fleet) noneHalted(ctx context.Context) error {
	var halted []error
	for _, page := range f.partitions(ctx) {
		if page.State == "halted" {
			halted = append(halted, fmt.Errorf("%s has halted partition %d: %s", page.worker.name, page.Partition, page.Cause))
		}
	}
	return errors.Join(halted...)
}

// progress waits until each partition has accepted so many more triggers.
func (f *Fleet) progress(ctx context.Context, more int) error {
	before := f.accepts.counts()
	return poll(ctx, fmt.Sprintf("%d more triggers on each partition", more), func() bool {
		for p, n := range f.accepts.counts() {
			if n < before[p]+more {
				return false
			}
		}
		return true
	})
}

// admin asks a process's admin port.
func (p *process) admin(ctx context.Context, path string) answer {
	addr := p.said("admin")
	if addr == "" {
		return answer{err: errors.New(p.name + " has no admin port")}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return answer{err: err}
	}
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := once.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, data, err}
}

// metric is the sum of a process's series of a name.
func (p *process) metric(ctx context.Context, name string) (sum float64, err error) {
	a := p.admin(ctx, "/metrics")
	if a.err != nil {
		return 0, a.err
	}
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(a.body)); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if id, _, _ := strings.Cut(series, "{"); id != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%s has no metric %s", p.name, name)
	}
	return sum, nil
}

// running are those of the processes that run.
func running(all []*process) (some []*process) {
	for _, p := range all {
		if p.current() != nil {
			some = append(some, p)
		}
	}
	return some
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// restart starts a process and waits until it is ready.
func restart(ctx context.Context, p *process, args ...string) error {
	if err := p.start(args...); err != nil {
		return err
	}
	return p.awaitReady(ctx)
}
