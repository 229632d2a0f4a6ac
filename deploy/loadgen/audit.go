package loadgen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

const (
	auditParallel = 32
	auditTimeout  = 10 * time.Minute // for all of it, so that a server that never catches up is told
	applyWait     = "30s"            // what one question may wait
	auditPause    = 100 * time.Millisecond
)

// findings are what the comparison with the server found.
type findings struct {
	done     bool
	caughtUp time.Duration // until all was applied
	read     int           // users

	applied    uint64 // triggers that the states count
	missing    uint64
	excess     uint64
	reordered  uint64
	rejected   uint64 // accepted, and rejected with a reason when they were applied
	surfaced   uint64 // without a known outcome, and in the state
	counted    uint64 // proven by their count alone
	duplicates uint64 // repeats that came to nothing, as they must, by their outcome
	expired    uint64 // … by the state alone, because outcomes are kept for a while only
	breaches   []Breach
}

// auditor holds a history against what a server says. One goroutine calls it; it has helpers of its own.
type auditor struct {
	*history
	api *api

	mu sync.Mutex
	findings
}

// Audit waits until everything is applied and holds every user's state against what was promised. An error, ErrNotAudited, means that
// it could not be asked.
func (r *Session) Audit(ctx context.Context) error {
	a := &auditor{history: r.history, api: r.api}
	err := a.run(ctx)
	r.api.close()
	r.audit = a.findings
	return err
}

func (a *auditor) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	begun := time.Now()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{{"find the deployment", a.find}, {"resolve receipts", a.resolveAll}, {"wait until all is applied", a.awaitApplied}, {"ask for duplicates", a.checkDuplicates}, {"read state", a.checkAll}} {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrNotAudited, step.name, err)
		}
		if a.caughtUp == 0 && step.name == "wait until all is applied" {
			a.caughtUp = time.Since(begun)
		}
	}
	a.done = true
	return nil
}

// find makes sure that this is where the run was: in another account or deployment everybody would look lost.
func (a *auditor) find(ctx context.Context) error {
	err := a.api.get(ctx, "/v1/bots/"+botID+"/modules", nil)
	if notFound(err) {
		return errors.New("the token's account has no bot " + botID + ": this is another account or another deployment (or one that has lost everything)")
	}
	return err
}

// fail notes a promise that was not kept, if b is one.
func (a *auditor) fail(user int, b breach) {
	if b.promise == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.findings.breaches = append(a.findings.breaches, Breach{b.promise, userName(a.Run, user), b.text})
}

// each calls do for 0 to n-1, some at once, until one fails.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(auditParallel, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// resolveAll asks for every unknown outcome that has a receipt. One that is not there may still come, so it stays unknown.
func (a *auditor) resolveAll(ctx context.Context) error {
	var open []int
	for n := range a.users {
		if u := a.users[n].unknown; u != nil && u.receipt != "" {
			open = append(open, n)
		}
	}
	return each(ctx, len(open), func(ctx context.Context, i int) error {
		p := &a.users[open[i]]
		f, err := a.api.settled(ctx, p.unknown.receipt)
		if notFound(err) || f.expired {
			return nil
		}
		if err != nil {
			return err
		}
		id, err := record.ParseID(f.TriggerID)
		if err != nil {
			return fmt.Errorf("receipt %s: %w", p.unknown.receipt, err)
		}
		a.fail(open[i], p.found(id))
		return nil
	})
}

// awaitApplied waits for the last accepted trigger of each partition: whatever was accepted before it is applied then. What the server
// says of it does not matter here: the state does.
func (a *auditor) awaitApplied(ctx context.Context) error {
	last := map[int]record.ID{}
	later := func(id record.ID) {
		if have, ok := last[id.Partition]; !ok || have.Position.Compare(id.Position) < 0 {
			last[id.Partition] = id
		}
	}
	for i := range a.users {
		if n := len(a.users[i].recent); n > 0 {
			later(a.users[i].recent[n-1].id)
		}
	}
	for _, d := range a.history.duplicates {
		later(d.id)
	}
	for _, id := range last {
		if _, err := a.api.settled(ctx, id.String()); err != nil && !notFound(err) {
			return err
		}
	}
	return nil
}

// checkDuplicates asks what became of the repeats that were accepted under ids of their own.
func (a *auditor) checkDuplicates(ctx context.Context) error {
	list := a.history.duplicates
	return each(ctx, len(list), func(ctx context.Context, i int) error {
		d := &list[i]
		f, err := a.api.settled(ctx, d.id.String())
		switch {
		case notFound(err):
			a.fail(d.user, broken(Durable, "a repeat was accepted as %s, and nothing is known of it", d.id))
		case err != nil:
			return err
		case f.expired:
			a.add(func(f *findings) { f.expired++ })
		case f.Status == "rejected":
			a.add(func(f *findings) { f.duplicates++ })
		case f.Status != "duplicate":
			a.fail(d.user, broken(Once, "a repeat was accepted as %s, and is %s", d.id, f.Status))
		case d.of != (record.ID{}) && f.DuplicateOf != d.of.String():
			a.fail(d.user, broken(Replays, "%s was accepted first as %s, and is called a duplicate of %s", d.id, d.of, f.DuplicateOf))
		default:
			a.add(func(f *findings) { f.duplicates++ })
		}
		return nil
	})
}

func (a *auditor) add(change func(*findings)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.findings)
}

func (a *auditor) checkAll(ctx context.Context) error {
	return each(ctx, len(a.users), a.checkUser)
}

func (a *auditor) checkUser(ctx context.Context, n int) error {
	p := &a.users[n]
	var state userState
	err := a.api.get(ctx, "/v1/users/"+userName(a.Run, n), &state)
	if notFound(err) {
		a.add(func(f *findings) { f.read++; f.missing += p.accepted })
		a.fail(n, broken(Durable, "was imported, and does not exist"))
		return nil
	}
	if err != nil {
		return err
	}
	found := p.check(&state)
	rejected := 0
	if found.promise != "" {
		rest, count, err := a.withoutRejected(ctx, p)
		if err != nil {
			return err
		}
		if rejected = count; rejected > 0 {
			found = rest.check(&state)
		}
	}
	a.fail(n, found.breach)
	a.add(func(f *findings) { f.sum(&found, rejected) })
	return nil
}

// sum adds what was found of one user.
func (f *findings) sum(found *finding, rejected int) {
	f.read++
	f.applied += found.applied
	f.missing += found.missing
	f.excess += found.excess
	f.counted += found.counted
	f.rejected += uint64(rejected)
	if found.surfaced {
		f.surfaced++
	}
	switch found.promise {
	case Ordered:
		f.reordered++
	case Durable:
		if found.missing == 0 { // its place is taken by another
			f.missing++
			f.excess++
		}
	case Once:
		if found.excess == 0 {
			f.excess++
			f.missing++
		}
	}
}

// withoutRejected is what a user was promised without what was reported as rejected: that is a promise kept too.
func (a *auditor) withoutRejected(ctx context.Context, p *promises) (rest *promises, rejected int, err error) {
	rest = &promises{registered: p.registered, accepted: p.accepted, unknown: p.unknown, last: p.last}
	for _, s := range p.recent {
		f, err := a.api.settled(ctx, s.id.String())
		if err != nil && !notFound(err) {
			return nil, 0, err
		}
		if f.Status == "rejected" {
			rejected++
			continue
		}
		rest.recent = append(rest.recent, s)
	}
	rest.accepted -= min(rest.accepted, uint64(rejected))
	if n := len(rest.recent); rejected > 0 {
		rest.last = 0
		if n > 0 {
			rest.last = rest.recent[n-1].number
		}
	}
	return rest, rejected, nil
}

// all is every promise that was not kept, sorted.
func (a *auditor) all() []Breach { return sorted(a.history.breaches, a.findings.breaches) }

func sorted(lists ...[]Breach) []Breach {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(x, y Breach) int { return strings.Compare(x.User, y.User) })
	return all
}
