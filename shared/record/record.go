// Package record is the wire format of the log: what one entry means, how entries are packed
// into batches, and how an entry is named. FORMAT.md is the specification.
package record

import "errors"

// Version is the format this code writes. A reader refuses versions it does not know.
const Version = 1

// Kind says what a record asks the machine to do.
type Kind uint8

const (
	Trigger   Kind = iota + 1 // overwrite variables of a user and perhaps redirect
	Register                  // open or update a conversation (PUT /v1/users)
	Delete                    // forget a user
	Tick                      // let stream time pass
	Configure                 // set the limits that the machine obeys
)

// Record is one entry of the log. Its byte slices alias the buffer that it was decoded
// from; whoever keeps one copies it.
type Record struct {
	Kind      Kind
	Account   []byte // Trigger, Register, Delete
	User      []byte // Trigger, Register, Delete
	Bot       []byte // Trigger: the Module's bot; Register: the conversation's bot, empty = as it was
	Module    int64  // Trigger, Register; counts only if HasModule
	HasModule bool
	Redirect  bool   // Trigger: drive the conversation to Module
	Wait      int64  // Trigger: milliseconds of stream time before the redirect
	Vars      []Var  // Trigger, Register; no name twice
	Trace     []byte // Trigger: W3C traceparent, empty = none
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
}

// Decode parses one line into r, reusing r's slices. Errors mean a dead letter.
func (r *Record) Decode(line []byte) error { panic("skeleton") }

// AppendTo appends r as one compact JSON line, without the line feed.
func (r *Record) AppendTo(dst []byte) []byte { panic("skeleton") }

var (
	// ErrVersion: the batch was written by a newer triggerd; the reader must halt, not skip.
	ErrVersion = errors.New("unknown record format version")
	// ErrMalformed: the batch cannot be read at all; it is one dead letter as a whole.
	ErrMalformed = errors.New("malformed batch")
)

// Batch is one message of the log: 1..N records, packed by one writer.
type Batch struct {
	Writer  string // who appended it, unique for a process's life
	Number  uint64 // rises by at least one per batch of this writer and partition; 0 = not numbered, never taken for a copy
	Time    int64  // the writer's clock, Unix milliseconds
	Count   int    // records in Payload
	Payload []byte // records, each line ended by a line feed except the last
}

// Header renders the batch's NATS headers, Nats-Msg-Id included (numbered batches only).
func (b *Batch) Header() map[string][]string { panic("skeleton") }

// ParseBatch reads a message of the log. The batch aliases payload.
// Its errors wrap ErrVersion or ErrMalformed (a count that differs from the number of lines is malformed).
func ParseBatch(header map[string][]string, payload []byte) (Batch, error) { panic("skeleton") }

// Lines calls line for every record of the batch in order.
func (b *Batch) Lines(line func(index int, rec []byte) error) error { panic("skeleton") }

// Position is the place of a record in its partition's log.
type Position struct {
	Seq   uint64 // stream sequence of the message, from 1
	Index uint32 // index of the record in the batch, from 0
}

// ID names a record for ever: `p-seq-index`, as in 7-10482-3.
type ID struct {
	Partition int
	Position
}

func (id ID) String() string             { panic("skeleton") }
func (id ID) AppendTo(dst []byte) []byte { panic("skeleton") }
func ParseID(s string) (ID, error)       { panic("skeleton") }

// Receipt names a record whose fate was unknown when the caller had to be answered: `r-partition-writer-number-index`.
type Receipt struct {
	Partition int
	Writer    string // letters and digits only
	Number    uint64
	Index     uint32
}

func (r Receipt) String() string             { panic("skeleton") }
func ParseReceipt(s string) (Receipt, error) { panic("skeleton") }
