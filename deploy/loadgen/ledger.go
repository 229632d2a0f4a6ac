package loadgen

import (
	"fmt"

	"github.com/triggerd/triggerd/shared/record"
)

// keptChanges is how many of a user's last changes the state shows.
const keptChanges = 10

// ledger is what one user was promised. It belongs to the goroutine that sends the user's triggers.
type ledger struct {
	registered uint64 // times that the state counts before the first trigger
	sent       uint64 // triggers sent, refused ones aside; the number of the last is sent
	accepted   uint64 // of those
	last       uint64 // number of the last accepted one; 0 = none
	recent     []record.ID
	unknown    *unknown // the last one sent has no known outcome; nothing is sent after it
}

// unknown is a trigger of which nobody said what became of it.
type unknown struct {
	seq     uint64
	receipt string // empty: not even that
}

// accept notes an answer. It returns what is wrong with it, "" if nothing is.
func (l *ledger) accept(id record.ID) (broken string) {
	l.sent++
	l.accepted++
	l.last = l.sent
	if n := len(l.recent); n > 0 {
		switch before := l.recent[n-1]; {
		case before.Partition != id.Partition:
			broken = fmt.Sprintf("partition changed from %s to %s", before, id)
		case id.Position.Compare(before.Position) <= 0:
			broken = fmt.Sprintf("order is broken: %s was accepted before %s", before, id)
		}
	}
	if len(l.recent) == keptChanges {
		l.recent = append(l.recent[:0], l.recent[1:]...)
	}
	l.recent = append(l.recent, id)
	return broken
}

// lose notes that the outcome is not known.
func (l *ledger) lose(receipt string) {
	l.sent++
	l.unknown = &unknown{seq: l.sent, receipt: receipt}
}

// resolve notes what became of the unknown one. Stored with an unknown id is still stored.
func (l *ledger) resolve(stored bool, id record.ID) (broken string) {
	seq := l.unknown.seq
	l.unknown = nil
	if !stored {
		return ""
	}
	l.sent = seq - 1
	return l.accept(id)
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

// check compares what was promised with what is; "" if it fits. lost says that a trigger without any answer is in the state.
func (l *ledger) check(state userState) (broken string, lost bool) {
	seq := uint64(0)
	if state.CustomVars.Seq > 0 {
		seq = state.CustomVars.Seq - firstSeq
	}
	accepted, last, recent := l.accepted, l.last, l.recent
	if l.unknown != nil && seq == l.unknown.seq { // it got in, so all the rest must fit to that
		accepted, last, lost = accepted+1, seq, true
	}
	if seq != last {
		return fmt.Sprintf("last accepted trigger has number %d, the state shows %d", last, seq), lost
	}
	if want := l.registered + accepted; state.Version != want {
		return fmt.Sprintf("%d triggers were accepted, the state counts %d", accepted, int64(state.Version-l.registered)), lost
	}
	shown := len(state.Changes)
	if lost {
		shown--
	}
	for i := range min(len(recent), shown) {
		want, got := recent[len(recent)-1-i].String(), state.Changes[shown-1-i].TriggerID
		if got != want {
			return fmt.Sprintf("change %d from the end is %s, not %s", i+1, got, want), lost
		}
	}
	return "", lost
}
