// Package record is the wire format of the log: what one entry means, how entries are packed
// into batches, and how an entry is named. FORMAT.md is the specification.
//
// # Usage
//
// A writer renders each [Record] with AppendTo, joins the lines with line feeds and
// sends them under [Batch.Header]. A reader calls [ParseBatch], then [Batch.Lines],
// and decodes each line into one Record that it uses again and again.
//
// # Failure
//
// A line that Decode refuses is a dead letter: it is set aside and the log goes on.
// So is a batch that is [ErrMalformed]. A batch that is [ErrVersion] halts the reader:
// a newer program wrote it, and to guess or to skip would fork the state.
//
// # Memory and concurrency
//
// What was decoded aliases the buffer that it was decoded from. Nothing here is
// shared: different values can be used at once, one value cannot.
package record

// Version is the newest format that this code knows; it reads and writes all from 1 on. A reader refuses those it does not know.
const Version = 2

// Limits of the format. They keep one entry from doing harm further down (a key too long for the
// store, a time that overflows); what a customer may send is far below.
const (
	MaxTextBytes = 4096              // account, user, bot, trace: decoded, each
	MaxWait      = 1_000_000_000_000 // milliseconds
	MaxDepth     = 64                // levels of nesting in a line; the record is level 1
	MaxWriter    = 64                // bytes of a writer's name
	MaxKeyBytes  = 255               // bytes of an idempotency key, visible ASCII
	MaxPrint     = 64                // bytes of a request's fingerprint, visible ASCII
)

// Kind says what a record asks the machine to do.
type Kind uint8

const (
	Trigger   Kind = iota + 1 // overwrite variables of a user and perhaps redirect
	Register                  // open or update a conversation (PUT /v1/users)
	Delete                    // forget a user
	Tick                      // let stream time pass
	Configure                 // set the limits that the machine obeys
)

// kindNames are the values of a line's "type", by Kind.
var kindNames = [...]string{
	Trigger: "trigger", Register: "register", Delete: "delete", Tick: "tick", Configure: "config",
}

// String is the kind's name on the wire: trigger, register, delete, tick or config.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Record is one entry of the log. Its byte slices alias the buffer that it was decoded
// from; whoever keeps one copies it.
type Record struct {
	Kind      Kind
	Account   []byte // Trigger, Register, Delete
	User      []byte // Trigger, Register, Delete
	Bot       []byte // Trigger: the Module's bot; Register: the conversation's bot, empty = as it was
	Module    int64  // Trigger, Register; counts only if HasModule
	HasModule bool
	Redirect  bool   // Trigger: drive the conversation to Module; only with HasModule
	Wait      int64  // Trigger: milliseconds of stream time before the redirect
	Vars      []Var  // Trigger, Register; no name twice
	Trace     []byte // Trigger, Register, Delete: W3C traceparent, empty = none
	Key       []byte // Trigger: idempotency key, empty = none. Version 2
	Print     []byte // Trigger: fingerprint of the request, with Key and only with it. Version 2
	Limits    Limits // Configure
}

// Var is one custom variable: its name and its value as compact JSON, kept as sent.
type Var struct{ Name, Value []byte }

// Limits is what Apply reads besides the state. They are in the log, not in a flag, because a replay must
// judge as the first run did.
type Limits struct {
	Machine      int   // version of the machine's judgement
	MaxUserBytes int64 // names and values of one user's variables together
	MaxPending   int   // delayed redirects that one user may have outstanding
	OutcomesKeep int64 // milliseconds an outcome can be asked for after it is final
	MaxKeys      int64 // idempotency keys that the partition remembers at once; 0 = none. Version 2
	KeysKeep     int64 // milliseconds a key is remembered; with MaxKeys and only with it. Version 2
}
