package chaos

import (
	"fmt"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// firstModule is where every user's conversation begins, at version 1.
const firstModule = 7

// clockSlack is how far the time of an event may lie before its request was sent. Stream time stands still while nothing with a right clock reaches a
// log, at most as long as an outage lasts; the clocks that the run sets wrong are wrong by an hour.
const clockSlack = 10 * time.Minute

// Audit holds what was promised against what came of it, and returns everything that does not fit:
//
//   - In every EVENTS-p the sequences, and the numbers of the events, run from 1 without gaps. No event is there twice. Triggers
//     are in the order of the log, and stream time never goes back.
//   - An accepted trigger has its event, under the id that the caller was told. A refused one has none. One without an answer
//     has at most one. Nothing else has any.
//   - One that was sent again and again under its idempotency key has one event, under the first id, and its other ids are duplicates.
//   - A user's triggers are in the order in which they were sent, as far as the caller knew of one before it sent the next.
//   - A delayed redirect fires once; not before its time, and before anything that the log has after its time; and in the order of the
//     due times. A clock that is an hour off does not change when.
//   - A user's state is what the events say: the version counts every change, the last number and the last module
//     are those of the last events, the last changes have their ids, and what has not fired is pending.
//   - What became of a trigger can still be asked for, and is what its events say.
//   - Where a log lost its tail and was adopted: the triggers that were in the tail, and no others, may be gone without a trace. A message without events takes back
//     what followed from them, and nothing else; what had fired because of them fires again. Nothing that was sent after the adoption has an id
//     from the tail. (What was appended between restore and adoption may: deploy/BACKUP.md says so.)
func Audit(users []*User, ev Evidence) []string {
	a := &auditor{cuts: ev.Cuts, users: map[string]*User{}, attempts: map[string]map[int]*Attempt{}, of: map[string][]Event{}, duplicates: map[string]bool{}}
	for _, u := range users {
		a.users[u.Name] = u
		a.attempts[u.Name] = map[int]*Attempt{}
		for i := range u.Attempts {
			a.attempts[u.Name][u.Attempts[i].N] = &u.Attempts[i]
		}
	}
	for p, messages := range ev.Streams {
		a.stream(p, messages, ev.Cuts)
	}
	for _, u := range users {
		a.user(u, ev.States[u.Name])
		a.outcomes(u, ev.Outcomes)
	}
	return a.faults
}

type auditor struct {
	cuts       []*Cut
	users      map[string]*User
	attempts   map[string]map[int]*Attempt // by user and number
	of         map[string][]Event          // by user, in order
	duplicates map[string]bool             // ids of triggers that came again under their key, while nobody could say that it is known
	faults     []string
}

func (a *auditor) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// account is what the events about a user come to.
type account struct {
	firsts  map[int]Event // first halves by number
	version uint64
	n       int
	module  int64
	changes []string           // trigger ids
	pending map[string]pending // by trigger id
}

// pending is a redirect that has not fired.
type pending struct {
	due time.Time
	far bool
}

// user audits a user's events against what was promised, and the state against the events.
func (a *auditor) user(u *User, state *State) {
	acc := a.add(u)
	last := record.Position{}
	for i := range u.Attempts {
		at := &u.Attempts[i]
		e, found := acc.firsts[at.N]
		if u.Ghost {
			continue // a rejection does not say the number
		}
		a.promise(u, at, e, found)
		if !found {
			continue
		}
		id, _ := record.ParseID(e.ID)
		if id.Compare(last) <= 0 {
			a.fault("%s: number %d is at %s, one that was known before it was sent is at %d-%d", u.Name, at.N, e.ID, last.Seq, last.Index)
		}
		if at.Settled {
			last = id.Position
		}
	}
	if u.Ghost {
		a.ghost(u, state)
		return
	}
	a.state(u, acc, state)
}

// add walks through a user's events.
func (a *auditor) add(u *User) *account {
	acc := &account{firsts: map[int]Event{}, version: 1, module: firstModule, pending: map[string]pending{}}
	for _, e := range a.of[u.Name] {
		if e.Type == typeRejected {
			continue
		}
		if acc.version++; e.Data.Version != acc.version {
			a.fault("%s: event %s makes version %d, want %d", u.Name, e.ID, e.Data.Version, acc.version)
		}
		acc.changes = append(acc.changes, e.Data.TriggerID)
		if e.Type == typeRedirected {
			acc.module = e.Data.ModuleAfter
		}
		if e.ID != e.Data.TriggerID {
			delete(acc.pending, e.Data.TriggerID)
			continue
		}
		n := e.Data.Variables["n"]
		if before, twice := acc.firsts[n]; twice {
			a.fault("%s: number %d was applied twice, as %s and %s", u.Name, n, before.ID, e.ID)
		}
		acc.firsts[n], acc.n = e, n
		if at := a.attempts[u.Name][n]; at != nil && at.delayed() {
			acc.pending[e.ID] = pending{e.Time.Add(at.Wait), at.Wait >= far}
		}
	}
	return acc
}

// promise holds an attempt against its event.
func (a *auditor) promise(u *User, at *Attempt, e Event, found bool) {
	switch {
	case at.Result == Accepted && !found && a.lost(u, at):
	case at.Result == Accepted && !found:
		a.fault("%s: number %d was accepted as %s, and has no event", u.Name, at.N, at.ID)
	case at.Result == Refused && found:
		a.fault("%s: number %d was refused, and has event %s", u.Name, at.N, e.ID)
	}
	if !found {
		return
	}
	a.fresh(u, at, e.ID)
	want := typeUpdated
	if at.Redirect && at.Wait == 0 {
		want = typeRedirected
	}
	switch {
	case at.Keyed && at.Result == Accepted && a.repeats(at.ID, e.ID):
		a.duplicates[at.ID] = true
	case at.Result == Accepted && e.ID != at.ID:
		a.fault("%s: number %d was accepted as %s, its event is %s", u.Name, at.N, at.ID, e.ID)
	case e.Type != want || want == typeRedirected && e.Data.ModuleAfter != at.Module:
		a.fault("%s: number %d has event %s %s to %d, want %s to %d", u.Name, at.N, e.ID, e.Type, e.Data.ModuleAfter, want, at.Module)
	case e.Time.Before(at.Sent.Add(-clockSlack)):
		a.fault("%s: number %d was sent at %s, its event %s is of %s", u.Name, at.N, clock(at.Sent), e.ID, clock(e.Time))
	case at.Settled && e.Time.After(at.Answered.Add(time.Second)):
		a.fault("%s: number %d was answered at %s, its event %s is of %s", u.Name, at.N, clock(at.Answered), e.ID, clock(e.Time))
	}
}

// repeats says whether an id is of a trigger that came after the first one with its key.
func (a *auditor) repeats(id, first string) bool {
	x, err := record.ParseID(id)
	y, err2 := record.ParseID(first)
	return err == nil && err2 == nil && x.Partition == y.Partition && x.Compare(y.Position) > 0
}

// ghost audits somebody who does not exist: every accepted trigger is rejected, once, under its id.
func (a *auditor) ghost(u *User, state *State) {
	if state != nil {
		a.fault("%s: was never registered, and exists: %+v", u.Name, *state)
	}
	rejected := map[string]bool{}
	for _, e := range a.of[u.Name] {
		rejected[e.ID] = true
		if e.Type != typeRejected {
			a.fault("%s: was never registered, and has event %s %s", u.Name, e.ID, e.Type)
		}
	}
	most := 0
	for i := range u.Attempts {
		at := &u.Attempts[i]
		if at.Result == Accepted {
			a.fresh(u, at, at.ID)
		}
		switch {
		case at.Result == Accepted && !rejected[at.ID] && a.lost(u, at):
		case at.Result == Accepted && !rejected[at.ID]:
			a.fault("%s: number %d was accepted as %s, and has no event", u.Name, at.N, at.ID)
			fallthrough
		case at.Result != Refused:
			most++
		}
	}
	if len(rejected) > most {
		a.fault("%s: %d rejections for %d triggers", u.Name, len(rejected), most)
	}
}

const keptChanges = 10 // of a user, that its state shows

// state holds a user's state against the events.
func (a *auditor) state(u *User, acc *account, state *State) {
	if state == nil {
		a.fault("%s: was registered, and does not exist", u.Name)
		return
	}
	if state.Version != acc.version || state.Vars["n"] != acc.n || state.Module != acc.module {
		a.fault("%s: state has version %d, number %d, module %d, the events lead to %d, %d, %d", u.Name,
			state.Version, state.Vars["n"], state.Module, acc.version, acc.n, acc.module)
	}
	shown := state.Changes
	if len(acc.changes) < len(shown) { // the first one is the registration
		shown = shown[len(shown)-len(acc.changes):]
	}
	for i := range shown {
		if want := acc.changes[len(acc.changes)-len(shown)+i]; shown[i].TriggerID != want {
			a.fault("%s: change %d is %s, the event is %s", u.Name, i+1, shown[i].TriggerID, want)
		}
	}
	if len(shown) < min(len(acc.changes), keptChanges) {
		a.fault("%s: state shows %d changes of %d", u.Name, len(shown), len(acc.changes))
	}
	a.pending(u, acc, state)
}

func (a *auditor) pending(u *User, acc *account, state *State) {
	for _, p := range state.Pending {
		want, known := acc.pending[p.TriggerID]
		switch delete(acc.pending, p.TriggerID); {
		case !known || !want.due.Equal(p.DueAt):
			a.fault("%s: redirect %s waits until %s, the events say %s (known: %t)", u.Name, p.TriggerID, clock(p.DueAt), clock(want.due), known)
		case !want.far:
			a.fault("%s: redirect %s was due at %s, and has not fired", u.Name, p.TriggerID, clock(want.due))
		}
	}
	for id, want := range acc.pending {
		a.fault("%s: redirect %s, due at %s, neither fired nor waits", u.Name, id, clock(want.due))
	}
}

// outcomes holds what the API says of triggers against what was asked.
func (a *auditor) outcomes(u *User, outcomes map[string]string) {
	for i := range u.Attempts {
		at := &u.Attempts[i]
		got, asked := outcomes[at.ID]
		if at.Result != Accepted || !asked || a.lost(u, at) {
			continue
		}
		want := "applied"
		switch {
		case a.duplicates[at.ID]:
			want = "duplicate"
		case u.Ghost:
			want = "rejected"
		case at.delayed() && at.Wait >= far:
			want = "scheduled"
		case at.Redirect:
			want = "redirected"
		}
		if got != want {
			a.fault("%s: outcome of %s is %q, want %s", u.Name, at.ID, got, want)
		}
	}
}
