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
			v.checkEvents(a, 1, []entry{{1, 1, at(10)}, {1, 2, at(11)}, {1, 3, at(12)}}, l)
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

// What has no event because it has no known outcome is not missed.
func TestEventOfALostAttempt(t *testing.T) {
	a, v := &auditor{history: newHistory(header{Run: "load-x", Users: 2})}, &Verdict{}
	p := &a.users[1]
	p.begin(1)
	p.lose("")
	p.begin(1)
	p.accept(at(10), false)
	l := &eventLog{of: map[int][]userEvent{1: {{id: at(9), version: 2}}}, oldest: map[int]record.ID{3: at(1)}}
	v.checkEvents(a, 1, []entry{{1, 1, at(10)}}, l)
	if len(a.findings.breaches) > 0 || v.Events != 0 {
		t.Errorf("%v", a.findings.breaches)
	}
}
