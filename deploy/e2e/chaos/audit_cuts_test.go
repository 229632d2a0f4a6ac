package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// adopted is a history of which everything fits, with a log that lost its tail. The plain one goes on, on partition 0: of anna's triggers 4 redirects after 2 s, which fires
// because of what is lost. What came after 0-4-1 is lost, with all its events. anna's 8 was sent before the log was adopted, and has the id of 5; her 9 was
// sent afterwards.
func adopted() *forged {
	h := plain()
	start := h.users[0].Attempts[0].Sent.Add(-time.Second)
	anna := h.users[0]
	anna.Attempts[3].Redirect, anna.Attempts[3].Wait = true, 2*time.Second
	fired := h.in(3).Events[3]
	fired.ID, fired.Data.TriggerID, fired.Data.Version, fired.Time = "0-4-1-r", "0-4-1", 5, start.Add(5*time.Second)
	tail := slices.Insert(h.in(3).Events, 0, fired)
	for i := range tail[1:] {
		if tail[i+1].Subject == "anna" {
			tail[i+1].Data.Version++
		}
	}
	h.in(3).Events = tail
	add := func(n int, id string, version uint64, second int) Event {
		sent := start.Add(time.Duration(second) * time.Second)
		anna.Attempts = append(anna.Attempts, Attempt{N: n, Module: 8, Redirect: true, Sent: sent, Answered: sent.Add(time.Second), Result: Accepted, ID: id, Settled: true})
		e := h.in(3).Events[5]
		e.ID, e.Data.TriggerID, e.Data.Version, e.Time, e.Data.Variables = id, id, version, sent, map[string]int{"n": n}
		return e
	}
	again := fired
	again.Time = start.Add(20 * time.Second)
	h.ev.Streams[0] = append(h.ev.Streams[0], Message{First: "5", Last: "5"},
		Message{Events: []Event{again, add(8, "0-5-0", 6, 20), add(9, "0-30-0", 7, 30)}})
	h.ev.Cuts = []*Cut{{Partition: 0, Kept: 4, Last: 7, Adopted: start.Add(25 * time.Second),
		Lost: map[string]Lost{"0-5-0": {"anna", 5}, "0-5-1": {"bert", 5}, "0-6-0": {"bert", 5}, "0-7-0": {"anna", 7}}}}
	h.ev.States = map[string]*State{
		"anna": state(7, 9, 8, start, "0-2-0", "0-2-0", "0-3-0", "0-4-1", "0-4-1", "0-5-0", "0-30-0"),
		"bert": state(3, 2, 7, start, "0-2-1", "0-2-1", "0-4-0"),
	}
	h.ev.Outcomes = map[string]string{"0-2-0": "scheduled", "0-4-1": "redirected", "0-30-0": "redirected", "0-5-1": "", "1-2-0": "rejected"}
	h.renumber()
	return h
}

func TestAuditOfAnAdoptedLog(t *testing.T) {
	h := adopted()
	if faults := Audit(h.users, h.ev); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
}

// The loss of a tail excuses nothing but what was in it.
func TestAuditFindsForgeriesOfAdoptedLogs(t *testing.T) {
	for _, c := range []struct {
		name  string
		forge func(h *forged)
		want  string
	}{
		{"nothing was lost", func(h *forged) { h.ev.Cuts = nil }, "message 4 takes back events after 5, and the log lost nothing"},
		{"another log lost its tail", func(h *forged) { h.ev.Cuts[0].Partition = 1 }, "message 4 takes back events after 5, and the log lost nothing"},
		{"it is taken back twice", func(h *forged) { h.ev.Streams[0] = slices.Insert(h.ev.Streams[0], 4, *h.in(4)) }, "message 5 takes back events after 5, and the log lost nothing"},
		{"more is lost", func(h *forged) { delete(h.ev.Cuts[0].Lost, "0-7-0") }, "number 7 was accepted as 0-7-0, and has no event"},
		{"more is taken back", func(h *forged) { delete(h.ev.Cuts[0].Lost, "0-7-0") }, "message 4 takes back event 0-7-0, which followed from nothing that was lost"},
		{"what was kept is taken back", func(h *forged) { h.in(4).First, h.in(4).Last = "4", "4" }, "message 4 takes back event 0-4-1, which followed"},
		{"what was kept is gone", func(h *forged) { h.in(4).First, h.in(4).Last = "4", "4" }, "number 4 was accepted as 0-4-1, and has no event"},
		{"what is lost stays", func(h *forged) { h.in(4).First, h.in(4).Last = "10", "10" }, "event 0-5-0 is there twice"},
		{"it goes on after what never was", func(h *forged) { h.in(4).First, h.in(4).Last = "12", "12" }, "goes on after event 12, and there are 11"},
		{"another trigger was in the tail", func(h *forged) { h.ev.Cuts[0].Lost["0-7-0"] = Lost{"anna", 6} }, "number 7 was accepted as 0-7-0, and has no event"},
		{"somebody else's trigger was in the tail", func(h *forged) { h.ev.Cuts[0].Lost["0-7-0"] = Lost{"bert", 7} }, "number 7 was accepted as 0-7-0, and has no event"},
		{"a ghost's trigger is lost with another log's tail", func(h *forged) { h.ev.Streams[1] = nil }, "number 1 was accepted as 1-2-0, and has no event"},
		{"an id is given again", func(h *forged) { h.users[0].Attempts[7].Sent = h.ev.Cuts[0].Adopted.Add(1) }, "number 8 was sent after the log was adopted, and is 0-5-0: 5 to 7 were handed out before"},
		{"a ghost gets an id again", func(h *forged) {
			h.ev.Cuts = append(h.ev.Cuts, &Cut{Partition: 1, Kept: 1, Last: 2, Adopted: h.users[2].Attempts[0].Sent.Add(-1)})
		}, "number 1 was sent after the log was adopted, and is 1-2-0: 2 to 2 were"},
		{"what had fired does not fire again", func(h *forged) { h.in(5).Events = h.in(5).Events[1:] }, "redirect 0-4-1-r is due at 03:04:10.000, and has not fired before 0-5-0"},
		{"it fires twice", func(h *forged) { h.in(5).Events = slices.Insert(h.in(5).Events, 0, h.in(5).Events[0]) }, "event 0-4-1-r is there twice"},
		{"what was taken back was wrong", func(h *forged) { e := h.in(3).Events; e[1], e[2] = e[2], e[1] }, "event 0-5-0 comes after one at position 5-1"},
		{"the state keeps what is lost", func(h *forged) { h.ev.States["bert"].Version = 5 }, "state has version 5, number 2, module 7, the events lead to 3, 2, 7"},
		{"an outcome of what is not lost is forgotten", func(h *forged) { h.ev.Outcomes["0-4-1"] = "" }, `outcome of 0-4-1 is "", want redirected`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := adopted()
			c.forge(h)
			h.renumber()
			faults := Audit(h.users, h.ev)
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("faults are %q, want %q among them", faults, c.want)
			}
		})
	}
}
