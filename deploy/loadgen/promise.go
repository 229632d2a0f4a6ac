package loadgen

import (
	"fmt"

	"github.com/triggerd/triggerd/shared/record"
)

// keptChanges is how many of a user's last changes the state shows.
const keptChanges = 10

// Promise is what a breach broke.
type Promise string

// The promises that are audited.
const (
	Durable Promise = "lost"      // each accepted trigger is applied
	Once    Promise = "doubled"   // … once, however often it is sent under its key
	Ordered Promise = "reordered" // … in the order of its user
	Replays Promise = "replay"    // a repeat is answered as its first one was, or is a duplicate of it
	Answers Promise = "answer"    // an answer can be understood, and fits to those before
)

// Breach is a promise that was not kept.
type Breach struct {
	Promise Promise `json:"promise"`
	User    string  `json:"user"`
	Text    string  `json:"text"`
}

func (b Breach) String() string { return fmt.Sprintf("%s  %s: %s", b.Promise, b.User, b.Text) }

// breach is one whose user is known elsewhere; the zero value is none.
type breach struct {
	promise Promise
	text    string
}

func broken(p Promise, format string, args ...any) breach {
	return breach{p, fmt.Sprintf(format, args...)}
}

// promises is what one user was promised. A user's triggers are numbered from 1 and sent one after the other: the next one when it is known what
// became of the one before. At most the last one has no known outcome. It belongs to the goroutine that sends the user's triggers.
type promises struct {
	registered uint64 // times that the state counts before the first trigger
	sent       uint64 // number of the last trigger that may be stored
	accepted   uint64 // triggers, however often each was sent
	last       uint64 // number of the last accepted one; 0 = none
	recent     []stored
	unknown    *unknown // the last one has no known outcome; nothing else is sent after it
	current    attempts
}

// attempts are those to send one trigger.
type attempts struct {
	number uint64
	open   int  // under way
	lost   bool // one ended without an answer
}

// stored is an accepted trigger.
type stored struct {
	number uint64
	id     record.ID
	sure   bool // no other attempt may have been stored before it
}

// unknown is a trigger of which nobody said what became of it.
type unknown struct {
	number  uint64
	receipt string // empty: not even that
}

// begin notes that trigger number is sent, perhaps again.
func (p *promises) begin(number uint64) {
	if p.current.number != number {
		p.current = attempts{number: number}
	}
	p.current.open++
}

// refuse notes that an attempt was not stored.
func (p *promises) refuse() { p.end() }

// lose notes that an attempt had no answer, or one that tells nothing but where to ask.
func (p *promises) lose(receipt string) {
	p.current.lost = true
	if p.last != p.current.number {
		p.sent = p.current.number
		p.unknown = &unknown{number: p.current.number, receipt: receipt}
	}
	p.end()
}

// accept notes that an attempt was accepted as id, or that it is what was accepted first. It returns what is wrong with
// that, and what must turn out to be a duplicate, if something must.
func (p *promises) accept(id record.ID, replayed bool) (b breach, dup duplicate) {
	defer p.end()
	if p.last == p.current.number && p.last > 0 {
		return p.again(id, replayed)
	}
	p.sent, p.last, p.unknown = p.current.number, p.current.number, nil
	p.accepted++
	if n := len(p.recent); n > 0 {
		b = follows(p.recent[n-1].id, id)
	}
	if len(p.recent) == keptChanges {
		p.recent = append(p.recent[:0], p.recent[1:]...)
	}
	p.recent = append(p.recent, stored{p.last, id, replayed})
	return b, dup
}

// duplicate is a repeat that was accepted under an id of its own, as happens to two at once and while a partition has no owner. It must come to nothing.
type duplicate struct {
	user   int
	id, of record.ID // of is zero if it is not certain
}

// again is the answer to another attempt of what is accepted already: two were sent at once. The later one in the log must be the duplicate.
func (p *promises) again(id record.ID, replayed bool) (b breach, dup duplicate) {
	s := &p.recent[len(p.recent)-1]
	switch {
	case id == s.id:
	case replayed && s.sure:
		return broken(Replays, "number %d was accepted as %s, its repeat is answered with %s", s.number, s.id, id), dup
	case replayed:
		dup.id, s.id, s.sure = s.id, id, true
	case id.Partition == s.id.Partition && id.Position.Compare(s.id.Position) < 0:
		dup.id, s.id = s.id, id
	default:
		dup.id = id
	}
	if !p.current.lost {
		dup.of = s.id
	}
	if n := len(p.recent); n > 1 {
		b = follows(p.recent[n-2].id, s.id)
	}
	return b, dup
}

// end ends an attempt.
func (p *promises) end() {
	p.current.open--
	if p.current.open == 0 && !p.current.lost && p.last == p.current.number && p.last > 0 {
		p.recent[len(p.recent)-1].sure = true
	}
}

// abandon ends the attempts that nobody noted the end of.
func (p *promises) abandon() {
	for p.current.open > 0 {
		p.lose("")
	}
}

// found notes what a receipt led to.
func (p *promises) found(id record.ID) breach {
	p.begin(p.unknown.number)
	b, _ := p.accept(id, true)
	return b
}

// follows says what is wrong with a user's next trigger having that id.
func follows(before, id record.ID) (b breach) {
	switch {
	case before.Partition != id.Partition:
		b = broken(Ordered, "its partition changed from %s to %s", before, id)
	case id.Position.Compare(before.Position) <= 0:
		b = broken(Ordered, "%s was accepted before %s", before, id)
	}
	return b
}

// repeated holds the answer to a trigger that was sent once more, long after it was accepted as first, against that.
func repeated(first, id record.ID, replayed bool) (b breach, dup duplicate) {
	switch {
	case id == first:
	case replayed:
		b = broken(Replays, "it was accepted as %s, its repeat is answered with %s", first, id)
	default:
		b, dup = follows(first, id), duplicate{id: id, of: first}
	}
	return b, dup
}

// userState is what the server says of a user.
type userState struct {
	Version    uint64 `json:"version"`
	CustomVars struct {
		Seq uint64 `json:"seq"`
	} `json:"custom_vars"`
	Changes []struct {
		TriggerID string `json:"trigger_id"`
	} `json:"changes"`
}

// number is that of the last trigger applied.
func (s *userState) number() uint64 {
	if s.CustomVars.Seq < firstSeq {
		return 0
	}
	return s.CustomVars.Seq - firstSeq
}

// finding is what a user's state shows.
type finding struct {
	breach
	applied  uint64 // triggers that the state counts
	excess   uint64 // of those, more than can be
	missing  uint64 // accepted ones that it does not count
	surfaced bool   // the trigger without a known outcome is in it
	counted  uint64 // accepted ones that are proven by their count alone: the last changes do not show them
}

// check compares what was promised with what is.
func (p *promises) check(state *userState) (f finding) {
	number, want, last := state.number(), p.registered+p.accepted, p.last
	f.applied = state.Version - min(state.Version, p.registered)
	if p.unknown != nil && number == p.unknown.number { // it got in, so all the rest must fit to that
		f.surfaced, last, want = true, number, want+1
	}
	f.counted = p.accepted - min(p.accepted, uint64(len(p.recent)))
	switch {
	case state.Version < want:
		f.missing = want - state.Version
		f.breach = broken(Durable, "%d triggers were accepted, the state counts %d, the last one with number %d of %d",
			want-p.registered, f.applied, number, last)
	case state.Version > want:
		f.excess = state.Version - want
		f.breach = broken(Once, "%d triggers were accepted, the state counts %d, the last one with number %d of %d", want-p.registered, f.applied, number, last)
	case number != last:
		f.breach = broken(Ordered, "the last accepted trigger has number %d, the state shows %d", last, number)
	default:
		f.breach = p.checkChanges(state, f.surfaced)
	}
	return f
}

// checkChanges compares the ids of the last changes. The count is right, so what is missing is there in another's place.
func (p *promises) checkChanges(state *userState, surfaced bool) breach {
	shown := len(state.Changes)
	if surfaced {
		shown--
	}
	for i := range min(len(p.recent), shown) {
		want, got := p.recent[len(p.recent)-1-i], state.Changes[shown-1-i].TriggerID
		if want.shownAs(got) {
			continue
		}
		text := fmt.Sprintf("change %d from the end is %s, not %s", i+1, got, want.id)
		for j := range shown {
			if j != shown-1-i && state.Changes[j].TriggerID == got {
				return breach{Once, text + ", and is there twice"}
			}
		}
		if p.knows(got) {
			return breach{Ordered, text}
		}
		return breach{Durable, text}
	}
	return breach{}
}

// shownAs says whether a change with that id is this trigger. If an attempt before it got no answer, that one may be what was applied.
func (s *stored) shownAs(text string) bool {
	id, err := record.ParseID(text)
	return err == nil && (id == s.id || !s.sure && id.Partition == s.id.Partition && id.Position.Compare(s.id.Position) < 0)
}

func (p *promises) knows(text string) bool {
	for _, s := range p.recent {
		if s.id.String() == text {
			return true
		}
	}
	return false
}
