package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
//   - A user's triggers are in the order in which they were sent, as far as the caller knew of one before it sent the next.
//   - A delayed redirect fires once; not before its time, and before anything that the log has after its time; and in the order of the
//     due times. A clock that is an hour off does not change when.
//   - A user's state is what the events say: the version counts every change, the last number and the last module
//     are those of the last events, the last changes have their ids, and what has not fired is pending.
//   - What became of a trigger can still be asked for, and is what its events say.
func Audit(users []*User, ev Evidence) []string {
	a := &auditor{users: map[string]*User{}, attempts: map[string]map[int]*Attempt{}, of: map[string][]Event{}}
	for _, u := range users {
		a.users[u.Name] = u
		a.attempts[u.Name] = map[int]*Attempt{}
		for i := range u.Attempts {
			a.attempts[u.Name][u.Attempts[i].N] = &u.Attempts[i]
		}
	}
	for p, messages := range ev.Streams {
		a.stream(p, messages)
	}
	for _, u := range users {
		a.user(u, ev.States[u.Name])
		a.outcomes(u, ev.Outcomes)
	}
	return a.faults
}

type auditor struct {
	users    map[string]*User
	attempts map[string]map[int]*Attempt // by user and number
	of       map[string][]Event          // by user, in order
	faults   []string
}

func (a *auditor) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// waiting is a delayed redirect of which the first half was seen.
type waiting struct {
	due    time.Time
	id     record.ID
	module int64
}

// streamed is what is known of a stream up to an event.
type streamed struct {
	p       int
	seen    map[string]bool
	last    record.Position // of the first halves
	time    time.Time
	waiting map[string]*waiting // by trigger id
	pending []*waiting          // those that have not fired, by due time
}

// stream audits EVENTS-p by itself.
func (a *auditor) stream(p int, messages []Message) {
	s := &streamed{p: p, seen: map[string]bool{}, waiting: map[string]*waiting{}}
	number := 0
	for i, m := range messages {
		first, last := strconv.Itoa(number+1), strconv.Itoa(number+len(m.Events))
		if m.Seq != uint64(i+1) || m.First != first || m.Last != last {
			a.fault("EVENTS-%d: message %d has sequence %d and events %s to %s, want %s to %s", p, i+1, m.Seq, m.First, m.Last, first, last)
		}
		number += len(m.Events)
		for _, e := range m.Events {
			a.event(s, e)
			a.of[e.Subject] = append(a.of[e.Subject], e)
		}
	}
}

// event audits one event within its stream.
func (a *auditor) event(s *streamed, e Event) {
	trigger, second := strings.CutSuffix(e.ID, "-r")
	id, err := record.ParseID(trigger)
	if err != nil || id.Partition != s.p || e.Data.TriggerID != trigger || e.Source != "triggerd/partition/"+strconv.Itoa(s.p) {
		a.fault("EVENTS-%d: event %s of %s is not one of this partition", s.p, e.ID, e.Source)
		return
	}
	if s.seen[e.ID] {
		a.fault("EVENTS-%d: event %s is there twice", s.p, e.ID)
		return
	}
	s.seen[e.ID] = true
	if e.Time.Before(s.time) {
		a.fault("EVENTS-%d: event %s is of %s, the one before of %s", s.p, e.ID, clock(e.Time), clock(s.time))
	}
	s.time = e.Time
	if second {
		a.fires(s, e, trigger)
		return
	}
	if id.Compare(s.last) <= 0 {
		a.fault("EVENTS-%d: event %s comes after one at position %d-%d", s.p, e.ID, s.last.Seq, s.last.Index)
	}
	s.last = id.Position
	a.overdue(s, e)
	a.first(s, e, id)
}

// first audits the first half of a trigger, which for most is all of it.
func (a *auditor) first(s *streamed, e Event, id record.ID) {
	u, at := a.users[e.Subject], a.attempts[e.Subject][e.Data.Variables["n"]]
	if u == nil || at == nil && e.Type != typeRejected {
		a.fault("EVENTS-%d: event %s about %s with number %d: nobody sent that", s.p, e.ID, e.Subject, e.Data.Variables["n"])
		return
	}
	if at != nil && at.delayed() && e.Type != typeRejected {
		w := &waiting{due: e.Time.Add(at.Wait), id: id, module: at.Module}
		s.waiting[e.ID] = w
		i, _ := slices.BinarySearchFunc(s.pending, w, compareWaiting)
		s.pending = slices.Insert(s.pending, i, w)
	}
}

func compareWaiting(x, y *waiting) int {
	if c := x.due.Compare(y.due); c != 0 {
		return c
	}
	return x.id.Compare(y.id.Position)
}

// fires audits the second half of a delayed trigger.
func (a *auditor) fires(s *streamed, e Event, trigger string) {
	w := s.waiting[trigger]
	switch {
	case w == nil:
		a.fault("EVENTS-%d: redirect %s fires, and waited for nothing", s.p, e.ID)
		return
	case e.Time.Before(w.due):
		a.fault("EVENTS-%d: redirect %s fires at %s, and is due at %s", s.p, e.ID, clock(e.Time), clock(w.due))
	case len(s.pending) > 0 && s.pending[0] != w:
		a.fault("EVENTS-%d: redirect %s fires before %s-r, which is due earlier", s.p, e.ID, s.pending[0].id)
	case e.Type != typeRedirected || e.Data.ModuleAfter != w.module:
		a.fault("EVENTS-%d: redirect %s is %s to %d, want %s to %d", s.p, e.ID, e.Type, e.Data.ModuleAfter, typeRedirected, w.module)
	}
	s.pending = slices.DeleteFunc(s.pending, func(x *waiting) bool { return x == w })
}

// overdue: whatever is due by the time of a record fires before it.
func (a *auditor) overdue(s *streamed, e Event) {
	for len(s.pending) > 0 && !s.pending[0].due.After(e.Time) {
		a.fault("EVENTS-%d: redirect %s-r is due at %s, and has not fired before %s at %s", s.p, s.pending[0].id, clock(s.pending[0].due), e.ID, clock(e.Time))
		s.pending = s.pending[1:]
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

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
	case at.Result == Accepted && !found:
		a.fault("%s: number %d was accepted as %s, and has no event", u.Name, at.N, at.ID)
	case at.Result == Refused && found:
		a.fault("%s: number %d was refused, and has event %s", u.Name, at.N, e.ID)
	}
	if !found {
		return
	}
	want := typeUpdated
	if at.Redirect && at.Wait == 0 {
		want = typeRedirected
	}
	switch {
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
		switch at := &u.Attempts[i]; {
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
		if at.Result != Accepted || !asked {
			continue
		}
		want := "applied"
		switch {
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
