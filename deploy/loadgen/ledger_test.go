package loadgen

import (
	"strconv"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

func at(seq uint64) record.ID {
	return record.ID{Partition: 3, Position: record.Position{Seq: seq}}
}

// promised is a ledger after n accepted triggers, and the state that keeps the promise.
func promised(n int) (*ledger, userState) {
	l := &ledger{registered: 1}
	var s userState
	s.Version = 1
	show(&s, at(1))
	for i := range n {
		id := at(uint64(10 + i))
		l.accept(id)
		s.Version++
		s.CustomVars.Seq = firstSeq + l.last
		show(&s, id)
	}
	return l, s
}

// show adds a change as the server does.
func show(s *userState, id record.ID) {
	change := struct {
		TriggerID string `json:"trigger_id"`
	}{id.String()}
	s.Changes = append(s.Changes, change)
	if len(s.Changes) > keptChanges {
		s.Changes = s.Changes[1:]
	}
}

func TestKeptPromisesPass(t *testing.T) {
	for _, n := range []int{0, 1, 5, 9, 10, 11, 200} {
		l, s := promised(n)
		if text, lost := l.check(s); text != "" || lost {
			t.Errorf("%d triggers: %q, lost %t", n, text, lost)
		}
	}
}

// The audit is worth what it catches.
func TestBrokenPromisesAreCaught(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(s *userState)
	}{
		{"the last one is missing", "the state shows 11", func(s *userState) { s.CustomVars.Seq--; s.Version-- }},
		{"one in the middle is missing", "the state counts 11", func(s *userState) { s.Version-- }},
		{"one is applied twice", "the state counts 13", func(s *userState) { s.Version++ }},
		{"an older one was applied last", "the state shows 11", func(s *userState) { s.CustomVars.Seq-- }},
		{"nothing is there", "the state shows 0", func(s *userState) { s.CustomVars.Seq = 0 }},
		{"two are in the wrong order", "change 3 from the end is", func(s *userState) {
			s.Changes[7], s.Changes[6] = s.Changes[6], s.Changes[7]
		}},
		{"another trigger is among them", "change 1 from the end is", func(s *userState) { s.Changes[9].TriggerID = "3-99-0" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, s := promised(12)
			c.spoil(&s)
			if text, _ := l.check(s); !strings.Contains(text, c.want) {
				t.Errorf("got %q, want %q in it", text, c.want)
			}
		})
	}
}

func TestAnswersMustRise(t *testing.T) {
	l, _ := promised(2)
	if text := l.accept(at(11)); !strings.Contains(text, "order is broken") {
		t.Errorf("the same id again: %q", text)
	}
	other := at(20)
	other.Partition = 4
	if text := l.accept(other); !strings.Contains(text, "partition changed") {
		t.Errorf("another partition: %q", text)
	}
}

func TestUnknownOutcomeMayBeEither(t *testing.T) {
	l, s := promised(12)
	l.lose("")
	if text, lost := l.check(s); text != "" || lost {
		t.Errorf("not stored: %q, lost %t", text, lost)
	}
	s.CustomVars.Seq = firstSeq + l.unknown.seq
	if text, _ := l.check(s); text == "" {
		t.Error("it is the last value, but was not counted")
	}
	s.Version++
	show(&s, at(50))
	if text, lost := l.check(s); text != "" || !lost {
		t.Errorf("stored: %q, lost %t", text, lost)
	}
	s.Version++
	if text, _ := l.check(s); text == "" {
		t.Error("stored twice, and not caught")
	}
}

func TestReceiptResolvesAnUnknownOutcome(t *testing.T) {
	l, s := promised(3)
	l.lose("r-3-writer-7-0")
	if text := l.resolve(true, at(40)); text != "" || l.unknown != nil {
		t.Errorf("stored: %q", text)
	}
	s.CustomVars.Seq, s.Version = firstSeq+4, s.Version+1
	show(&s, at(40))
	if text, _ := l.check(s); text != "" {
		t.Error(text)
	}
	l.lose("r-3-writer-8-0")
	l.resolve(false, record.ID{})
	if text, _ := l.check(s); text != "" {
		t.Errorf("not stored: %s", text)
	}
}

func TestRequestIsPatchedInPlace(t *testing.T) {
	item := func(user, seq string) string {
		return `{"user_id":"load-abc-` + user + `","module_id":1,"is_async":true,"custom_vars":{"seq":` + seq + `,"pad":"xxx"}}`
	}
	for _, test := range []struct {
		path, body string
		items      int
	}{
		{"", item("00000042", "1000000007"), 1},
		{"batch/", "[" + item("00000042", "1000000007") + "," + item("00000043", "1000000001") + "," + item("00000000", "1000000000") + "]", 3},
	} {
		r := newRequest("host:1", "token", "load-abc", 3, test.items)
		want := "POST /actionsvc/trigger-response/" + test.path + " HTTP/1.1\r\nHost: host:1\r\nAuthorization: JWT token\r\nContent-Type: application/json\r\n" +
			"Content-Length: " + strconv.Itoa(len(test.body)) + "\r\n\r\n" + test.body
		r.put(0, 99_999_999, 999)
		r.put(0, 42, 7)
		if test.items > 1 {
			r.put(1, 43, 1)
		}
		if got := string(r.bytes); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
