package machine

import "github.com/triggerd/triggerd/shared/record"

// effects is what one record, or one redirect that fires, does. A judgement fills it in; it is
// written to the Store only when the judgement has come to its end. Reused from record to record.
type effects struct {
	changed bool  // next replaces the user
	next    *User // nil: the user is deleted

	schedule  bool      // due is added to the due index
	due       Due       //
	cancelled []Pending // removed from the due index, rejected

	outcome Outcome // Status 0: none. Account and User are filled in later
	events  []Event // Number, Partition, Account and User are filled in later

	sorted []record.Var // scratch of sortVars
	trace  []byte       // scratch: a kept traceparent as bytes
	texts  interner
}

// reset forgets the last judgement and keeps the memory.
func (fx *effects) reset() {
	clear(fx.events) // they refer to a payload and to users
	*fx = effects{events: fx.events[:0], sorted: fx.sorted[:0], trace: fx.trace[:0], texts: fx.texts}
}

// change makes next the user's new state and names its version in the outcome.
func (fx *effects) change(next *User) {
	fx.changed, fx.next = true, next
	fx.outcome.UserVersion = next.Version
}

// emit adds an event and returns it for the details.
func (fx *effects) emit(kind EventKind, pos record.Position, now Millis) *Event {
	fx.events = append(fx.events, Event{Kind: kind, Position: pos, Time: now})
	return &fx.events[len(fx.events)-1]
}
