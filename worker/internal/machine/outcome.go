package machine

import (
	"fmt"

	"github.com/triggerd/triggerd/shared/record"
)

// Status is where a trigger stands. Values are stored: never renumber.
type Status uint8

const (
	Accepted   Status = iota + 1 // in the log, not applied yet (never stored)
	Scheduled                    // variables done, redirect due
	Applied                      // no redirect asked for
	Redirected                   // variables done, conversation moved
	Rejected                     // nothing done (or, of a delayed redirect, nothing more), see Reason
	Duplicate                    // a late copy of another record, or a repetition under its idempotency key, see DuplicateOf
)

// statusWords are the words of the HTTP contract.
var statusWords = [...]string{Accepted: "accepted", Scheduled: "scheduled", Applied: "applied",
	Redirected: "redirected", Rejected: "rejected", Duplicate: "duplicate"}

// String is the status as the HTTP contract spells it.
func (s Status) String() string {
	if s == 0 || int(s) >= len(statusWords) {
		return fmt.Sprintf("status(%d)", uint8(s))
	}
	return statusWords[s]
}

// Final says whether nothing more will become of a record in that status.
func (s Status) Final() bool { return s > Scheduled }

// Reasons of a rejection. Stored, emitted and answered: never change one.
const (
	ReasonUnknownUser    = "unknown_user"
	ReasonTooMuchState   = "too_much_state"   // variables over Limits.MaxUserBytes
	ReasonTooManyPending = "too_many_pending" // delayed redirects over Limits.MaxPending
	ReasonUserDeleted    = "user_deleted"     // a delayed redirect whose user was deleted
	ReasonPoison         = "poison"           // see the dead letter of that position

	ReasonKeyMismatch = "idempotency_mismatch" // the key is known with another request
	ReasonKeyBudget   = "key_budget"           // over Limits.MaxKeys
)

// Outcome is what became of one record.
type Outcome struct {
	Position    record.Position
	Kind        record.Kind
	Account     string
	User        string
	Status      Status
	Reason      string          // Rejected: one of the Reason words
	DuplicateOf record.Position // Duplicate; Seq 0: the original is no longer remembered
	AcceptedAt  Millis          // server's timestamp of the message
	AppliedAt   Millis          // stream time
	UserVersion uint64          // the user's version after it; 0 = unknown user
}

// Reasons of a dead letter. Stored: never change one.
const (
	DeadBatch  = "malformed_batch"  // the message is no batch of records
	DeadRecord = "malformed_record" // the line is no record
	DeadPanic  = "panic"            // the judgement of the record panicked
)

// DeadLetter is a record (or a whole batch) that could not be read or whose application panicked.
type DeadLetter struct {
	Position record.Position
	Whole    bool   // the batch as a whole; Position.Index is 0
	Account  string // empty if it could not be read
	Reason   string // one of the Dead words: an error's text would make a better text part of the judgement
	At       Millis // stream time
	Data     []byte // the record as it stands in the log, for a redrive
}
