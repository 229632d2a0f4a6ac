package machine

import (
	"cmp"

	"github.com/triggerd/triggerd/shared/record"
)

// Millis is a moment of stream time, or of a wall clock, in Unix milliseconds.
type Millis = int64

// KeptChanges is how many changes a user remembers.
const KeptChanges = 10

// User is one conversation. A *User is immutable once it was put into a Store: changing
// it means building another. Successive versions share what did not change.
type User struct {
	Bot       string // empty = none yet
	Module    int64  // counts only if HasModule
	HasModule bool
	Vars      []Var     // sorted by name, no name twice
	VarBytes  int64     // names and values of Vars together
	Version   uint64    // changes applied since the user was registered, from 1
	UpdatedAt Millis    // stream time of the last change
	Pending   []Pending // sorted by Due
	Changes   []Change  // the last KeptChanges, oldest first
}

// Var is one custom variable.
type Var struct {
	Name  string
	Value []byte // compact JSON, as sent
}

// size is what the variable counts towards Limits.MaxUserBytes.
func (v *Var) size() int64 { return int64(len(v.Name) + len(v.Value)) }

// Pending is a redirect that waits for its time. Its Position is that of the trigger.
type Pending struct {
	Due        Due
	Module     int64
	Bot        string // the Module's bot, empty = the conversation stays with its bot
	AcceptedAt Millis // server's timestamp of the trigger's message
	Trace      string
}

// Due is an entry of the due index: what fires, and when. Order: At, then Position.
type Due struct {
	At Millis
	record.Position
}

// Compare orders two entries as they fire.
func (d Due) Compare(o Due) int {
	return cmp.Or(cmp.Compare(d.At, o.At), d.Position.Compare(o.Position))
}

// Change is what one record (or one delayed redirect) did to a user.
type Change struct {
	ID                        record.Position
	At                        Millis
	ModuleBefore, ModuleAfter int64    // 0 = none
	Variables                 []string // names, sorted
}

// module is the user's module as events and changes show it.
func (u *User) module() int64 {
	if !u.HasModule {
		return 0
	}
	return u.Module
}

// next starts the user's next version, one change later. The slices are still those of u: whoever
// changes one replaces it.
func (u *User) next(now Millis) *User {
	n := *u
	n.Version++
	n.UpdatedAt = now
	return &n
}

// moveTo puts the conversation at a module, and with that bot unless bot is empty.
func (u *User) moveTo(module int64, bot string) {
	u.Module, u.HasModule = module, true
	u.setBot(bot)
}

// setBot changes the bot unless bot is empty.
func (u *User) setBot(bot string) {
	if bot != "" {
		u.Bot = bot
	}
}

// remember appends a change in a new slice and lets the oldest go.
func (u *User) remember(c Change) {
	kept := u.Changes
	if len(kept) >= KeptChanges {
		kept = kept[len(kept)-KeptChanges+1:]
	}
	changes := make([]Change, len(kept)+1)
	copy(changes, kept)
	changes[len(kept)] = c
	u.Changes = changes
}

// addPending inserts p by its due time, in a new slice.
func (u *User) addPending(p Pending) {
	at := len(u.Pending)
	for at > 0 && u.Pending[at-1].Due.Compare(p.Due) > 0 {
		at--
	}
	pending := make([]Pending, len(u.Pending)+1)
	copy(pending, u.Pending[:at])
	pending[at] = p
	copy(pending[at+1:], u.Pending[at:])
	u.Pending = pending
}

// dropFirstPending drops the redirect that is due first. The rest of the slice is shared instead of copied, or a thousand
// redirects that fire together would copy half a million.
func (u *User) dropFirstPending() {
	u.Pending = u.Pending[1:]
	if len(u.Pending) == 0 {
		u.Pending = nil
	}
}
