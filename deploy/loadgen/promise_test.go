package loadgen

import (
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

func at(seq uint64) record.ID {
	return record.ID{Partition: 3, Position: record.Position{Seq: seq}}
}

// promised is n accepted triggers, and the state that keeps the promise.
func promised(n int) (*promises, *userState) {
	p, s := &promises{registered: 1}, &userState{Version: 1}
	show(s, at(1))
	for i := range n {
		id := at(uint64(10 + i))
		p.begin(uint64(i + 1))
		p.accept(id, false)
		s.Version++
		s.CustomVars.Seq = firstSeq + p.last
		show(s, id)
	}
	return p, s
}

func TestKeptPromisesPass(t *testing.T) {
	for _, n := range []int{0, 1, 5, 9, 10, 11, 200} {
		p, s := promised(n)
		f := p.check(s)
		if f.promise != "" || f.surfaced || f.applied != uint64(n) || f.counted != uint64(max(0, n-keptChanges)) {
			t.Errorf("%d triggers: %+v", n, f)
		}
	}
}

func TestBrokenPromisesAreCaught(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  Promise
		spoil func(s *userState)
	}{
		{"the last one is missing", Durable, func(s *userState) { s.CustomVars.Seq--; s.Version-- }},
		{"one in the middle is missing", Durable, func(s *userState) { s.Version-- }},
		{"one is applied twice", Once, func(s *userState) { s.Version++ }},
		{"an older one was applied last", Ordered, func(s *userState) { s.CustomVars.Seq-- }},
		{"nothing is there", Ordered, func(s *userState) { s.CustomVars.Seq = 0 }},
		{"two are in the wrong order", Ordered, func(s *userState) { s.Changes[7], s.Changes[6] = s.Changes[6], s.Changes[7] }},
		{"one is in another's place", Once, func(s *userState) { s.Changes[6] = s.Changes[7] }},
		{"another trigger is among them", Durable, func(s *userState) { s.Changes[9].TriggerID = "3-99-0" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := promised(12)
			c.spoil(s)
			if f := p.check(s); f.promise != c.want || f.text == "" {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestAnswersMustRise(t *testing.T) {
	p, _ := promised(2)
	p.begin(3)
	if b, _ := p.accept(at(11), false); b.promise != Ordered {
		t.Errorf("the same id again: %v", b)
	}
	other := at(20)
	other.Partition = 4
	p.begin(4)
	if b, _ := p.accept(other, false); b.promise != Ordered || !strings.Contains(b.text, "partition changed") {
		t.Errorf("another partition: %v", b)
	}
}

func TestUnknownOutcomeMayBeEither(t *testing.T) {
	p, s := promised(12)
	p.begin(13)
	p.lose("")
	if f := p.check(s); f.promise != "" || f.surfaced {
		t.Errorf("not stored: %+v", f)
	}
	s.CustomVars.Seq = firstSeq + 13
	if f := p.check(s); f.promise == "" {
		t.Error("it is the last value, but was not counted")
	}
	s.Version++
	show(s, at(50))
	if f := p.check(s); f.promise != "" || !f.surfaced {
		t.Errorf("stored: %+v", f)
	}
	s.Version++
	if f := p.check(s); f.promise != Once {
		t.Errorf("stored twice: %+v", f)
	}
}

func TestReceiptResolvesAnUnknownOutcome(t *testing.T) {
	p, s := promised(3)
	p.begin(4)
	p.lose("r-3-writer-7-0")
	if b := p.found(at(40)); b.promise != "" || p.unknown != nil {
		t.Errorf("%v", b)
	}
	s.CustomVars.Seq, s.Version = firstSeq+4, s.Version+1
	show(s, at(40))
	if f := p.check(s); f.promise != "" || f.surfaced {
		t.Errorf("%+v", f)
	}
}

// Of two attempts at once the earlier one in the log is the trigger, and the other one a duplicate, in whichever order they are answered.
func TestTwoAtOnce(t *testing.T) {
	for _, c := range []struct {
		name      string
		first     record.ID
		second    record.ID
		replayed  bool
		is        record.ID
		duplicate record.ID
	}{
		{"one is the other's replay", at(50), at(50), true, at(50), record.ID{}},
		{"both are stored", at(50), at(51), false, at(50), at(51)},
		{"both are stored, answered the other way round", at(51), at(50), false, at(50), at(51)},
		{"a replay of one that was answered later", at(51), at(50), true, at(50), at(51)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, s := promised(12)
			p.begin(13)
			p.begin(13)
			p.accept(c.first, false)
			b, dup := p.accept(c.second, c.replayed)
			if b.promise != "" || dup.id != c.duplicate || c.duplicate != (record.ID{}) && dup.of != c.is {
				t.Errorf("%v, duplicate %+v", b, dup)
			}
			s.CustomVars.Seq, s.Version = firstSeq+13, s.Version+1
			show(s, c.is)
			if f := p.check(s); f.promise != "" || p.accepted != 13 {
				t.Errorf("%+v", f)
			}
			s.Changes[9].TriggerID = "3-52-0"
			if f := p.check(s); f.promise == "" {
				t.Error("another one was applied, and that is not seen")
			}
		})
	}
}

// If one attempt has no answer, it may be what is applied; but nothing later may.
func TestLostAttemptMayBeTheOneThatCounts(t *testing.T) {
	p, s := promised(3)
	p.begin(4)
	p.lose("")
	p.begin(4)
	p.accept(at(60), false)
	s.CustomVars.Seq, s.Version = firstSeq+4, s.Version+1
	show(s, at(55))
	if f := p.check(s); f.promise != "" || p.unknown != nil {
		t.Errorf("the earlier attempt: %+v", f)
	}
	s.Changes[len(s.Changes)-1].TriggerID = at(61).String()
	if f := p.check(s); f.promise == "" {
		t.Error("a later one was applied, and that is not seen")
	}
}

func TestRepeats(t *testing.T) {
	if b, dup := repeated(at(5), at(5), true); b.promise != "" || dup.id != (record.ID{}) {
		t.Errorf("replay: %v %v", b, dup)
	}
	if b, dup := repeated(at(5), at(9), false); b.promise != "" || dup.id != at(9) || dup.of != at(5) {
		t.Errorf("under an id of its own: %v %v", b, dup)
	}
	if b, _ := repeated(at(5), at(9), true); b.promise != Replays {
		t.Errorf("replay of another: %v", b)
	}
	if b, _ := repeated(at(5), at(4), false); b.promise != Ordered {
		t.Errorf("before the first: %v", b)
	}
}
