// Package machine is the deterministic state machine of one partition. [the helper writes the contract here]
package machine

import (
	"errors"

	"github.com/triggerd/triggerd/shared/record"
)

// Millis is a moment of stream time, or of a wall clock, in Unix milliseconds.
type Millis = int64

// User is one conversation. A *User is immutable once it was put into a Store: changing
// it means building another.
type User struct {
	Bot       string
	Module    int64
	HasModule bool
	Vars      []Var // sorted by name
	VarBytes  int64
	Version   uint64
	UpdatedAt Millis
	Pending   []Pending // sorted by (Due, Position)
	Changes   []Change  // the last 10, oldest first
}

type Var struct {
	Name  string
	Value []byte // compact JSON
}

// Pending is a redirect that waits for its time.
type Pending struct {
	Due        Due
	Module     int64
	Bot        string
	AcceptedAt Millis
	Trace      string
}

// Due is an entry of the due index: what fires, and when. Order: At, then Position.
type Due struct {
	At Millis
	record.Position
}

// Change is what one record (or one delayed redirect) did to a user.
type Change struct {
	ID                        record.Position
	At                        Millis
	ModuleBefore, ModuleAfter int64 // 0 = none
	Variables                 []string
}

// Status is where a trigger stands. Values are stored: never renumber.
type Status uint8

const (
	Accepted  Status = iota + 1 // in the log, not applied yet (never stored)
	Scheduled                   // variables done, redirect due
	Applied                     // no redirect asked for
	Redirected
	Rejected
	Duplicate
)

// Outcome is what became of one record.
type Outcome struct {
	Position    record.Position
	Kind        record.Kind
	Account     string
	User        string
	Status      Status
	Reason      string          // Rejected: stable word: unknown_user, too_much_state, too_many_pending, user_deleted, poison
	DuplicateOf record.Position // Duplicate
	AcceptedAt  Millis          // server's timestamp of the message
	AppliedAt   Millis          // stream time
	UserVersion uint64
}

// DeadLetter is a record (or a whole batch) that could not be read or whose application panicked.
type DeadLetter struct {
	Position record.Position
	Whole    bool   // the batch as a whole
	Account  string // empty if it could not be read
	Reason   string
	At       Millis
	Data     []byte // the record as it stands in the log, for a redrive
}

// Writer is what is remembered of one appender, to recognise late copies.
type Writer struct {
	Number uint64 // the highest batch number applied
	Seen   Millis // stream time of that batch
}

// Head is the small part of a partition's state that is always in memory. A checkpoint stores it whole.
type Head struct {
	Applied    uint64 // sequence of the last message applied
	StreamTime Millis
	Events     uint64 // number of the last event derived
	Limits     record.Limits
	Configured bool
	Writers    map[string]Writer
	Users      uint64 // count
	Pending    uint64 // count of due entries
}

// Store holds what does not fit in the head. All calls come from the partition's goroutine. A read
// error stops the machine: it is never taken for "not there".
type Store interface {
	User(account, user []byte) (*User, error) // nil: not known
	PutUser(account, user []byte, u *User)    // nil deletes

	// NextDue is the earliest entry of the due index.
	NextDue() (d Due, account, user []byte, ok bool, err error)
	PutDue(d Due, account, user []byte)
	DeleteDue(d Due)
	// DueOf finds a scheduled trigger by its position, for outcome queries.
	DueOf(p record.Position) (d Due, account, user []byte, ok bool, err error)

	// Outcomes are kept in buckets of one stream-time hour (hour = StreamTime / 3600000).
	PutOutcomes(hour int64, seq uint64, outs []Outcome) // of all records of one message, once; outs is the caller's again afterwards
	PutOutcome(hour int64, out Outcome)                 // of one record that changed later (a redirect fired or was cancelled); shadows PutOutcomes
	Outcome(p record.Position) (Outcome, bool, error)   // newest answer over all kept hours
	// PutBatch remembers where a numbered batch lies, for receipts and to name the original of a late copy.
	PutBatch(hour int64, writer string, number uint64, seq uint64)
	Batch(writer string, number uint64) (seq uint64, ok bool, err error)
	// DropHours forgets the buckets of all hours before the given one.
	DropHours(before int64)

	PutDeadLetter(d DeadLetter)
	DeadLetters(limit int) ([]DeadLetter, error)
}

// Message is one entry of TRIGGERS-p as the server stored it.
type Message struct {
	Seq     uint64
	Time    Millis // the server's timestamp
	Header  map[string][]string
	Payload []byte
}

// Result counts what a message did, for metrics.
type Result struct {
	Triggers, Redirected, Updated, Scheduled, Rejected, Duplicates, DeadLetters int
	SkippedBatch                                                                bool   // a late copy
	ClockSkew                                                                   Millis // server's minus writer's clock
}

// ErrHalt wraps errors after which the partition must stop rather than guess: unknown record version,
// unknown machine version, store failure, position out of order.
var ErrHalt = errors.New("partition halted")

// Machine applies messages in order. One goroutine.
type Machine struct{}

// New continues from head over st. partition only names ids and events.
func New(partition int, head Head, st Store) *Machine { panic("skeleton") }

// Head is the machine's head; a deep copy (it may be stored while the machine goes on).
func (m *Machine) Head() Head { panic("skeleton") }

// Apply applies the next message (Seq must be greater than Head().Applied; contiguity is the caller's check) and hands each event, in order,
// to emit; an event is valid only during that call. An error wraps ErrHalt; nothing of the message may then be kept.
func (m *Machine) Apply(msg Message, emit func(*Event)) (Result, error) { panic("skeleton") }

// EventKind is the CloudEvents type.
type EventKind uint8

const (
	EventRedirected EventKind = iota + 1 // triggerd.conversation.redirected
	EventUpdated                         // triggerd.conversation.updated
	EventRejected                        // triggerd.trigger.rejected
)

// Event is one thing the machine derived.
type Event struct {
	Number                    uint64 // 1, 2, 3 … in the partition, without gaps
	Kind                      EventKind
	Partition                 int
	Position                  record.Position // of the trigger
	Second                    bool            // the delayed half of a trigger: the id gets the suffix "-r"
	Time                      Millis          // stream time
	Account                   []byte
	User                      []byte
	Bot                       string
	ModuleBefore, ModuleAfter int64 // 0 = none
	Vars                      []record.Var
	Version                   uint64
	Reason                    string // EventRejected
	Trace                     []byte
}

// AppendJSON appends the event as a CloudEvents 1.0 JSON object.
func (e *Event) AppendJSON(dst []byte) []byte { panic("skeleton") }
