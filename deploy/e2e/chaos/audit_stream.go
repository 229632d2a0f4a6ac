package chaos

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

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

// stream audits EVENTS-p by itself. What was taken back is audited as what it was at that time, and does not count.
func (a *auditor) stream(p int, messages []Message, cuts []*Cut) {
	var events []Event
	for i, m := range messages {
		if len(m.Events) == 0 {
			a.timeline(p, events)
			events, cuts = a.takeBack(p, m, events, cuts)
		}
		first, last := strconv.Itoa(len(events)+1), strconv.Itoa(len(events)+len(m.Events))
		if len(m.Events) == 0 {
			first = last
		}
		if m.Seq != uint64(i+1) || m.First != first || m.Last != last {
			a.fault("EVENTS-%d: message %d has sequence %d and events %s to %s, want %s to %s", p, i+1, m.Seq, m.First, m.Last, first, last)
		}
		events = append(events, m.Events...)
	}
	a.timeline(p, events)
	for _, e := range events {
		a.of[e.Subject] = append(a.of[e.Subject], e)
	}
}

// timeline audits what a reader takes for the events of a partition.
func (a *auditor) timeline(p int, events []Event) {
	s := &streamed{p: p, seen: map[string]bool{}, waiting: map[string]*waiting{}}
	for _, e := range events {
		a.event(s, e)
	}
}

// takeBack audits a message without events, which says at which number they go on: what came after that is what followed from the tail that a log lost,
// and no more. It returns what stays, and the cuts that have no such message yet.
func (a *auditor) takeBack(p int, m Message, events []Event, cuts []*Cut) ([]Event, []*Cut) {
	number, err := strconv.Atoi(m.Last)
	if err != nil || number < 0 || number > len(events) {
		a.fault("EVENTS-%d: message %d goes on after event %s, and there are %d", p, m.Seq, m.Last, len(events))
		return events, cuts
	}
	var kept string
	for len(cuts) > 0 {
		cut := cuts[0]
		if cuts = cuts[1:]; cut.Partition != p {
			continue
		}
		if kept = cut.kept(events[number:]); kept == "" {
			return events[:number:number], cuts
		}
	}
	if kept == "" {
		a.fault("EVENTS-%d: message %d takes back events after %d, and the log lost nothing", p, m.Seq, number)
	} else {
		a.fault("EVENTS-%d: message %d takes back event %s, which followed from nothing that was lost", p, m.Seq, kept)
	}
	return events[:number:number], nil
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
