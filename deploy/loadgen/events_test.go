package loadgen

import (
	"fmt"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

// The events of one user with three accepted triggers, and what is wrong with them.
func TestEventsAreHeldAgainstTheLedger(t *testing.T) {
	event := func(seq, version uint64) string {
		return fmt.Sprintf(`{"id":"3-%d-0","type":"triggerd.conversation.redirected","subject":"load-x-00000001","data":{"version":%d}}`, seq, version)
	}
	const other = `{"id":"3-5-0","type":"triggerd.conversation.redirected","subject":"somebody else","data":{"version":9}}`
	for _, c := range []struct {
		name   string
		events []string
		want   Promise
		seen   uint64
	}{
		{"as they should be", []string{other, event(10, 2), event(11, 3), event(12, 4)}, "", 3},
		{"one is missing", []string{other, event(10, 2), event(12, 3)}, Durable, 2},
		{"all are missing", []string{other}, Durable, 0},
		{"one is there twice", []string{other, event(10, 2), event(11, 3), event(12, 4), event(12, 5)}, Once, 3},
		{"one more change is between them", []string{other, event(10, 2), event(11, 4), event(12, 5)}, Once, 3},
		{"in the wrong order", []string{other, event(11, 3), event(10, 2), event(12, 4)}, Ordered, 3},
		{"the oldest one is not kept any more", []string{event(11, 3), event(12, 4)}, "", 2},
		{"rejected", []string{other, event(10, 2), strings.ReplaceAll(event(11, 0), "conversation.redirected", "trigger.rejected"), event(12, 3)}, "", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &eventLog{run: "load-x", of: map[int][]userEvent{}, oldest: map[int]record.ID{}, next: map[int]uint64{}}
			if err := l.message(3, []byte("["+strings.Join(c.events, ",")+"]")); err != nil {
				t.Fatal(err)
			}
			a, v := &auditor{history: newHistory(header{Run: "load-x", Users: 2})}, &Verdict{}
			v.checkEvents(a, 1, []entry{{1, 1, at(10), true}, {1, 2, at(11), true}, {1, 3, at(12), true}}, l)
			var got Promise
			if len(a.findings.breaches) > 0 {
				got = a.findings.breaches[0].Promise
			}
			if got != c.want || v.Events != c.seen {
				t.Errorf("%q, %d seen: %v", got, v.Events, a.findings.breaches)
			}
		})
	}
}

// What was applied may be an attempt that had no answer, if it was stored before the one that had; and nothing else.
func TestEventOfALostAttempt(t *testing.T) {
	for _, c := range []struct {
		name string
		sure bool
		seq  uint64
		seen uint64
	}{
		{"the attempt without an answer", false, 9, 1},
		{"an event of before", false, 5, 0},
		{"an event of later", false, 11, 0},
		{"there was no other attempt", true, 9, 0},
	} {
		a, v := &auditor{history: newHistory(header{Run: "load-x", Users: 2})}, &Verdict{}
		l := &eventLog{of: map[int][]userEvent{1: {{id: at(5), version: 2}, {id: at(c.seq), version: 3}}}, oldest: map[int]record.ID{3: at(1)}}
		if c.seq == 5 {
			l.of[1] = l.of[1][:1]
		}
		v.checkEvents(a, 1, []entry{{1, 1, at(5), true}, {1, 2, at(10), c.sure}}, l)
		if v.Events != 1+c.seen || (len(a.findings.breaches) == 0) != (c.seen == 1) {
			t.Errorf("%s: %d events, %v", c.name, v.Events, a.findings.breaches)
		}
	}
}
