package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// forged is a history of which everything fits, to be spoilt.
type forged struct {
	users []*User
	ev    Evidence
}

// The plain history: on partition 0 two users. anna: 1 is far off, 2 redirects at once, 3 was refused, 4 sets a variable, 5 redirects after 2 s, 6 had no
// answer and came to nothing, 7 redirects at once. bert: 1 is far off, 2 had no answer and was stored, 5
// redirects after 1 s, and was sent again under its key. On partition 1 a ghost.
func plain() *forged {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(n int, result Result, id string, wait time.Duration, redirect bool) Attempt {
		sent := start.Add(time.Duration(n) * time.Second)
		return Attempt{N: n, Redirect: redirect, Module: 8, Wait: wait, Sent: sent, Answered: sent.Add(100 * time.Millisecond), Result: result, ID: id, Settled: result != Unknown}
	}
	anna := &User{Name: "anna", Attempts: []Attempt{
		at(1, Accepted, "0-2-0", far, true), at(2, Accepted, "0-3-0", 0, true), at(3, Refused, "", 0, true), at(4, Accepted, "0-4-1", 0, false),
		at(5, Accepted, "0-5-0", 2*time.Second, true), at(6, Unknown, "", 0, true), at(7, Accepted, "0-7-0", 0, true),
	}}
	bert := &User{Name: "bert", Attempts: []Attempt{
		at(1, Accepted, "0-2-1", far, true), at(2, Unknown, "", 0, false), at(5, Accepted, "0-6-0", time.Second, true),
	}}
	bert.Attempts[2].Keyed = true
	ghost := &User{Name: "ghost", Partition: 1, Ghost: true, Attempts: []Attempt{at(1, Accepted, "1-2-0", far, true), at(2, Refused, "", 0, true)}}
	h := &forged{users: []*User{anna, bert, ghost}}
	event := func(second int, id, kind, user string, n int, version uint64, module int64) Event {
		e := Event{ID: id, Source: "triggerd/partition/" + id[:1], Type: kind, Subject: user, Time: start.Add(time.Duration(second) * time.Second)}
		e.Data.TriggerID, e.Data.Version, e.Data.ModuleAfter = strings.TrimSuffix(id, "-r"), version, module
		if n > 0 {
			e.Data.Variables = map[string]int{"n": n}
		}
		return e
	}
	h.ev.Streams = [][]Message{{
		{Seq: 1, First: "1", Last: "3", Events: []Event{
			event(1, "0-2-0", typeUpdated, "anna", 1, 2, 7), event(1, "0-2-1", typeUpdated, "bert", 1, 2, 7), event(2, "0-3-0", typeRedirected, "anna", 2, 3, 8)}},
		{Seq: 2, First: "4", Last: "5", Events: []Event{
			event(3, "0-4-0", typeUpdated, "bert", 2, 3, 7), event(3, "0-4-1", typeUpdated, "anna", 4, 4, 8)}},
		{Seq: 3, First: "6", Last: "10", Events: []Event{
			event(5, "0-5-0", typeUpdated, "anna", 5, 5, 8), event(5, "0-5-1", typeUpdated, "bert", 5, 4, 7),
			event(6, "0-5-1-r", typeRedirected, "bert", 0, 5, 8), event(7, "0-5-0-r", typeRedirected, "anna", 0, 6, 8),
			event(7, "0-7-0", typeRedirected, "anna", 7, 7, 8)}},
	}, {
		{Seq: 1, First: "1", Last: "1", Events: []Event{event(1, "1-2-0", typeRejected, "ghost", 0, 0, 0)}},
	}}
	h.ev.States = map[string]*State{
		"anna": state(7, 7, 8, start, "0-2-0", "0-2-0", "0-3-0", "0-4-1", "0-5-0", "0-5-0", "0-7-0"),
		"bert": state(5, 5, 8, start, "0-2-1", "0-2-1", "0-4-0", "0-5-1", "0-5-1"),
	}
	h.ev.Outcomes = map[string]string{"0-2-0": "scheduled", "0-7-0": "redirected", "0-4-1": "applied", "0-6-0": "duplicate", "1-2-0": "rejected"}
	return h
}

// state is one with a far redirect pending; changes begin with the registration.
func state(version uint64, n int, module int64, start time.Time, waits string, changes ...string) *State {
	s := &State{Module: module, Version: version, Vars: map[string]int{"n": n}}
	s.Pending = append(s.Pending, struct {
		TriggerID string    `json:"trigger_id"`
		DueAt     time.Time `json:"due_at"`
	}{waits, start.Add(time.Second + far)})
	for _, id := range append([]string{"0-1-0"}, changes...) {
		s.Changes = append(s.Changes, struct {
			TriggerID string `json:"trigger_id"`
		}{id})
	}
	return s
}

// change changes the event with an id.
func (h *forged) change(id string, f func(*Event)) {
	for _, messages := range h.ev.Streams {
		for _, m := range messages {
			for i := range m.Events {
				if m.Events[i].ID == id {
					f(&m.Events[i])
				}
			}
		}
	}
}

// renumber gives a stream that was tampered with the headers of one that was not.
func (h *forged) renumber() {
	for _, messages := range h.ev.Streams {
		n := 0
		for i := range messages {
			messages[i].Seq = uint64(i + 1)
			if len(messages[i].Events) == 0 { // it says where the others go on
				n, _ = strconv.Atoi(messages[i].Last)
				continue
			}
			messages[i].First = fmt.Sprint(n + 1)
			n += len(messages[i].Events)
			messages[i].Last = fmt.Sprint(n)
		}
	}
}

// in is the message of partition 0 with that sequence.
func (h *forged) in(seq int) *Message { return &h.ev.Streams[0][seq-1] }

func TestAuditOfWhatFits(t *testing.T) {
	h := plain()
	if faults := Audit(h.users, h.ev); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
}

// Every way in which the product could break its word makes the audit say so, in those words among others.
func TestAuditFindsForgeries(t *testing.T) {
	for _, c := range []struct {
		name  string
		forge func(h *forged)
		want  string
	}{
		{"a trigger is lost", func(h *forged) { h.in(2).Events = h.in(2).Events[:1] }, "number 4 was accepted as 0-4-1, and has no event"},
		{"a trigger is applied twice", func(h *forged) {
			again := h.in(2).Events[1]
			again.ID, again.Data.TriggerID = "0-4-2", "0-4-2"
			h.in(2).Events = append(h.in(2).Events, again)
		}, "number 4 was applied twice, as 0-4-1 and 0-4-2"},
		{"an event is emitted twice", func(h *forged) { h.in(2).Events = append(h.in(2).Events, h.in(2).Events[1]) }, "event 0-4-1 is there twice"},
		{"a message is emitted twice", func(h *forged) { h.ev.Streams[0] = slices.Insert(h.ev.Streams[0], 2, *h.in(2)) }, "event 0-4-0 is there twice"},
		{"events change places", func(h *forged) { e := h.in(1).Events; e[0], e[2] = e[2], e[0] }, "comes after one at position"},
		{"a user's triggers change places", func(h *forged) { // wherever they are stored, the caller knew of 2 before it sent 4
			a := h.users[0].Attempts
			a[1].ID, a[3].ID = a[3].ID, a[1].ID
			h.change("0-3-0", func(e *Event) { e.Data.Variables = map[string]int{"n": 4}; e.Type = typeUpdated })
			h.change("0-4-1", func(e *Event) { e.Data.Variables = map[string]int{"n": 2}; e.Type = typeRedirected })
		}, "number 4 is at 0-3-0, one that was known before it was sent is at 4-1"},
		{"what was refused is applied", func(h *forged) { h.users[0].Attempts[1].Result = Refused }, "number 2 was refused, and has event 0-3-0"},
		{"another id was promised", func(h *forged) { h.users[0].Attempts[1].ID = "0-3-5" }, "was accepted as 0-3-5, its event is 0-3-0"},
		{"a key stands for what came later", func(h *forged) { h.users[1].Attempts[2].ID = "0-4-5" }, "was accepted as 0-4-5, its event is 0-5-1"},
		{"a repetition without a key", func(h *forged) { h.users[1].Attempts[2].Keyed = false }, "was accepted as 0-6-0, its event is 0-5-1"},
		{"a duplicate that says it is none", func(h *forged) { h.ev.Outcomes["0-6-0"] = "redirected" }, `outcome of 0-6-0 is "redirected", want duplicate`},
		{"somebody else's event", func(h *forged) { h.change("0-3-0", func(e *Event) { e.Data.Variables = map[string]int{"n": 99} }) }, "nobody sent that"},
		{"an event of another partition", func(h *forged) { h.change("1-2-0", func(e *Event) { e.ID = "0-9-0" }) }, "is not one of this partition"},
		{"the wrong kind of event", func(h *forged) { h.change("0-3-0", func(e *Event) { e.Type = typeUpdated }) }, "number 2 has event 0-3-0 " + typeUpdated},
		{"the wrong module", func(h *forged) { h.change("0-3-0", func(e *Event) { e.Data.ModuleAfter = 9 }) }, "to 9, want"},
		{"a number is left out", func(h *forged) { h.in(2).First = "5" }, "message 2 has sequence 2 and events 5 to 5, want 4 to 5"},
		{"a message is missing", func(h *forged) { h.ev.Streams[0] = slices.Delete(h.ev.Streams[0], 1, 2) }, "message 2 has sequence 3"},
		{"time goes back", func(h *forged) { h.change("0-4-0", func(e *Event) { e.Time = e.Time.Add(-time.Hour) }) }, "event 0-4-0 is of 02:04:08.000, the one before of 03:04:07.000"},
		{"stream time an hour ahead", func(h *forged) { h.change("0-7-0", func(e *Event) { e.Time = e.Time.Add(time.Hour) }) }, "number 7 was answered at 03:04:12.100, its event 0-7-0 is of 04:04:12.000"},
		{"stream time an hour behind", func(h *forged) { h.users[0].Attempts[0].Sent = h.users[0].Attempts[0].Sent.Add(time.Hour) }, "number 1 was sent at 04:04:06.000, its event 0-2-0 is of 03:04:06.000"},
		{"a redirect fires early", func(h *forged) { h.change("0-5-1-r", func(e *Event) { e.Time = e.Time.Add(-time.Millisecond) }) }, "redirect 0-5-1-r fires at 03:04:10.999, and is due at 03:04:11.000"},
		{"a redirect fires late", func(h *forged) {
			e := h.in(3).Events
			h.change("0-5-0-r", func(e *Event) { e.Data.Version = 7 })
			h.change("0-7-0", func(e *Event) { e.Data.Version = 6 })
			e[3], e[4] = e[4], e[3]
		}, "redirect 0-5-0-r is due at 03:04:12.000, and has not fired before 0-7-0"},
		{"redirects fire in the wrong order", func(h *forged) {
			e := h.in(3).Events
			e[2].Time = e[3].Time
			e[2], e[3] = e[3], e[2]
		}, "redirect 0-5-0-r fires before 0-5-1-r"},
		{"a redirect fires twice", func(h *forged) {
			e := h.in(3).Events
			h.in(3).Events = slices.Insert(e, 3, e[2])
		}, "event 0-5-1-r is there twice"},
		{"a redirect never fires", func(h *forged) { h.in(3).Events = slices.Delete(h.in(3).Events, 2, 3) }, "has not fired before 0-7-0"},
		{"the last redirect never fires", func(h *forged) { // nothing after it shows that it is late
			h.users = []*User{{Name: "bert", Attempts: []Attempt{h.users[1].Attempts[0]}}}
			h.users[0].Attempts[0].Wait = time.Minute
			s := h.ev.States["bert"]
			s.Version, s.Vars["n"], s.Module, s.Changes, s.Pending[0].DueAt = 2, 1, 7, s.Changes[:2], h.in(1).Events[1].Time.Add(time.Minute)
			h.ev.Streams = [][]Message{{{Events: h.in(1).Events[1:2]}}}
		}, "redirect 0-2-1 was due at 03:05:06.000, and has not fired"},
		{"a far redirect fires", func(h *forged) {
			e := h.in(3).Events[3]
			e.ID, e.Data.TriggerID = "0-2-0-r", "0-2-0"
			h.in(3).Events = append(h.in(3).Events, e)
		}, "redirect 0-2-0-r fires at 03:04:12.000, and is due at 23:04:06.000"},
		{"a redirect goes elsewhere", func(h *forged) { h.change("0-5-0-r", func(e *Event) { e.Data.ModuleAfter = 9 }) }, "to 9, want"},
		{"what was never asked for fires", func(h *forged) { h.change("0-5-0-r", func(e *Event) { e.ID, e.Data.TriggerID = "0-4-1-r", "0-4-1" }) }, "0-4-1-r fires, and waited for nothing"},
		{"a change is left out", func(h *forged) { h.change("0-7-0", func(e *Event) { e.Data.Version = 8 }) }, "event 0-7-0 makes version 8, want 7"},
		{"the state is behind", func(h *forged) { h.ev.States["anna"].Version = 6 }, "state has version 6, number 7, module 8, the events lead to 7, 7, 8"},
		{"the state has another number", func(h *forged) { h.ev.States["anna"].Vars["n"] = 4 }, "state has version 7, number 4"},
		{"the state is elsewhere", func(h *forged) { h.ev.States["anna"].Module = 9 }, "module 9, the events lead to"},
		{"the state has another history", func(h *forged) { h.ev.States["anna"].Changes[2].TriggerID = "0-3-1" }, "is 0-3-1, the event is 0-3-0"},
		{"the state forgot its history", func(h *forged) { h.ev.States["anna"].Changes = nil }, "state shows 0 changes of 6"},
		{"the state forgot what is pending", func(h *forged) { h.ev.States["anna"].Pending = nil }, "redirect 0-2-0, due at 23:04:06.000, neither fired nor waits"},
		{"the state waits for another time", func(h *forged) {
			h.ev.States["anna"].Pending[0].DueAt = h.ev.States["anna"].Pending[0].DueAt.Add(time.Hour)
		}, "waits until 00:04:06.000, the events say 23:04:06.000"},
		{"a user is lost", func(h *forged) { delete(h.ev.States, "anna") }, "was registered, and does not exist"},
		{"a ghost appears", func(h *forged) { h.ev.States["ghost"] = &State{} }, "was never registered, and exists"},
		{"a ghost is redirected", func(h *forged) { h.change("1-2-0", func(e *Event) { e.Type = typeRedirected }) }, "was never registered, and has event"},
		{"a ghost's trigger is lost", func(h *forged) { h.ev.Streams[1] = nil }, "number 1 was accepted as 1-2-0, and has no event"},
		{"a ghost is rejected for nothing", func(h *forged) { h.users[2].Attempts[0].Result = Refused }, "1 rejections for 0 triggers"},
		{"an outcome is forgotten", func(h *forged) { h.ev.Outcomes["0-2-0"] = "" }, `outcome of 0-2-0 is "", want scheduled`},
		{"an outcome is another", func(h *forged) { h.ev.Outcomes["0-7-0"] = "duplicate" }, `outcome of 0-7-0 is "duplicate", want redirected`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := plain()
			c.forge(h)
			if !strings.Contains(c.want, "message 2 has") {
				h.renumber()
			}
			faults := Audit(h.users, h.ev)
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("faults are %q, want %q among them", faults, c.want)
			}
		})
	}
}
