// Package statequery is how an ingress asks a partition's owner for state: a request on the subject state.p, answered
// with what the owner has applied.
//
// # Usage
//
// The asking side makes a [Client] over its connection and calls [Client.Ask], or [Client.Outcome] to hold on until a
// record's fate is final. The owner's side (worker/internal/partition) reads requests with [DecodeRequest] and writes
// replies with [EncodeReply]; it never marshals them otherwise, because encoding/json would rewrite the characters <, >
// and & inside custom variables.
//
// # Finality
//
// A positive answer is true as of the reply's Applied sequence. A negative one (a user not known, a record not found)
// is final: the owner has applied everything that was in the log when it was asked. Where it could not get that far in the time it
// was given, the reply says [WordBehind]; then what it affirms holds, and what it denies means "not known yet".
// A Check with WaitMillis 0 is answered at once and is never held up by what in it is not known. That a key is known no more, or that there is no room
// for another one, is judged by stream time or by the owner's clock, whichever is later, as if a message came now.
//
// # Failure
//
// Nobody listening and nobody answering are the same thing to a caller, [ErrSilent]: a partition's owner may be away for
// a moment at any time. Nothing in this package retries except Client.Outcome.
//
// # Compatibility
//
// Ingress and worker of different builds talk to each other during a rollout. Names and meanings of fields stay; the golden test
// holds them. A request with a field that its reader does not know is refused with [WordBadRequest], since ignoring part of
// a question would answer another one; a reply's unknown fields are ignored.
//
// # Concurrency
//
// A Client is safe for concurrent use and has no goroutines of its own.
package statequery

import "encoding/json"

// User names a user.
type User struct {
	Account string `json:"account"` // 1–MaxAccountBytes bytes
	User    string `json:"user"`    // 1–MaxUserBytes bytes
}

// Check names a user, and perhaps an idempotency key of theirs.
type Check struct {
	Account string `json:"account"`
	User    string `json:"user"`
	Key     string `json:"key,omitempty"` // 1–MaxKeyBytes visible ASCII characters; empty = none
}

// Request asks exactly one question: Check, User, Outcome, DeadLetters or Status; or none of them, and only waits for WaitSeq.
type Request struct {
	Check       []Check        `json:"check,omitempty"`        // are these users, and their keys, known? 1–MaxChecks
	User        *User          `json:"user,omitempty"`         // the user's state
	Outcome     *OutcomeOf     `json:"outcome,omitempty"`      // what became of a record
	DeadLetters *DeadLettersOf `json:"dead_letters,omitempty"` // the account's newest poison records
	Status      *StatusOf      `json:"status,omitempty"`       // where the partition stands
	WaitSeq     uint64         `json:"wait_seq,omitempty"`     // answer only once this sequence is applied (or WaitMillis has passed)
	WaitMillis  int64          `json:"wait_ms,omitempty"`      // how long the owner may hold the answer; 0–MaxWait
}

// OutcomeOf names a record by id or by receipt, and whose it must be.
type OutcomeOf struct {
	Account string `json:"account"`         // another account's record is simply not found
	ID      string `json:"id"`              // trigger id or receipt, 1–MaxIDBytes bytes
	Final   bool   `json:"final,omitempty"` // hold the answer, within WaitMillis, until the outcome is final
}

// DeadLettersOf asks for an account's newest poison records.
type DeadLettersOf struct {
	Account string `json:"account"`
	Limit   int    `json:"limit"` // 1–MaxDeadLetters
}

// StatusOf asks where the partition stands. An owner of a build that does not know the question refuses it with WordBadRequest.
type StatusOf struct {
	Digest bool `json:"digest,omitempty"` // of the whole state too; it takes about as long as a checkpoint, and nothing is applied meanwhile
}

// Words of Reply.Error. They are on the wire: they stay as they are.
const (
	WordNotFound   = "not_found"   // final, like every negative
	WordExpired    = "expired"     // the outcome is no longer kept
	WordBadRequest = "bad_request" // DecodeRequest refused the question
	WordBehind     = "behind"      // waited in vain; see the package's comment on finality
	WordOverloaded = "overloaded"  // the owner holds too many questions already
)

// Reply carries the answer and the sequence up to which the owner had applied.
type Reply struct {
	Applied     uint64       `json:"applied"`
	Known       []bool       `json:"known,omitempty"`        // Check: in the order asked, as many as asked
	Keys        []KnownKey   `json:"keys,omitempty"`         // Check with a key in it: the same
	KeysFull    bool         `json:"keys_full,omitempty"`    // Check with a key in it: there is no room for one that is not known
	User        *UserState   `json:"user,omitempty"`         // nil with User asked: not known
	Outcome     *Outcome     `json:"outcome,omitempty"`      // Outcome
	DeadLetters []DeadLetter `json:"dead_letters,omitempty"` // DeadLetters: newest first
	Status      *Status      `json:"status,omitempty"`       // Status
	Error       string       `json:"error,omitempty"`        // one of the words above, or empty
}

// KnownKey is what an idempotency key stands for; empty if it is not known, or was not asked for.
type KnownKey struct {
	TriggerID string `json:"trigger_id,omitempty"` // the first trigger that came with it
	Print     string `json:"print,omitempty"`      // fingerprint of that trigger's request
}

// UserState is a user as GET /v1/users shows it.
type UserState struct {
	BotID     string                     `json:"bot_id"`
	ModuleID  *int64                     `json:"module_id"`
	Vars      map[string]json.RawMessage `json:"custom_vars"`
	Version   uint64                     `json:"version"`
	UpdatedAt int64                      `json:"updated_at"` // Unix milliseconds, as all times here
	Pending   []Pending                  `json:"pending"`
	Changes   []Change                   `json:"changes"`
}

// Pending is a redirect that is due later.
type Pending struct {
	TriggerID string `json:"trigger_id"`
	ModuleID  int64  `json:"module_id"`
	DueAt     int64  `json:"due_at"`
}

// Change is one change that was applied to a user.
type Change struct {
	TriggerID    string   `json:"trigger_id"`
	At           int64    `json:"at"`
	ModuleBefore *int64   `json:"module_before"`
	ModuleAfter  *int64   `json:"module_after"`
	Variables    []string `json:"variables"` // names only
}

// Outcome is a record's fate.
type Outcome struct {
	TriggerID   string `json:"trigger_id"`
	UserID      string `json:"user_id"`
	Kind        string `json:"kind"`   // trigger, register, delete
	Status      string `json:"status"` // one of the statuses below
	Reason      string `json:"reason,omitempty"`
	DuplicateOf string `json:"duplicate_of,omitempty"`
	AcceptedAt  int64  `json:"accepted_at"`
	AppliedAt   int64  `json:"applied_at,omitempty"` // 0 = not applied
	UserVersion uint64 `json:"user_version,omitempty"`
}

// Statuses of an Outcome, the words of the HTTP contract.
const (
	StatusAccepted   = "accepted"   // in the log, not applied yet
	StatusScheduled  = "scheduled"  // variables changed, the redirect is due later
	StatusApplied    = "applied"    // final; no redirect was asked for
	StatusRedirected = "redirected" // final
	StatusRejected   = "rejected"   // final; Reason says why
	StatusDuplicate  = "duplicate"  // final; DuplicateOf names the record that had the effect
)

// Final reports whether the outcome will not change any more.
func (o *Outcome) Final() bool {
	switch o.Status {
	case StatusApplied, StatusRedirected, StatusRejected, StatusDuplicate:
		return true
	}
	return false
}

// Status is where a partition stands at its owner. Ages are in milliseconds.
type Status struct {
	Owner         string `json:"owner"` // the worker's id
	State         string `json:"state"` // its word, such as serving
	Since         int64  `json:"since"` // when it was entered
	Last          uint64 `json:"last"`  // last sequence of the log, as far as the owner knows
	OldestAge     int64  `json:"oldest_age_ms,omitempty"`
	Events        uint64 `json:"events"`  // number of the last event derived
	Emitted       uint64 `json:"emitted"` // number of the last event known to be in EVENTS
	Pending       uint64 `json:"pending_redirects"`
	Users         uint64 `json:"users"`
	StreamTime    int64  `json:"stream_time"`
	CheckpointSeq uint64 `json:"checkpoint_seq"`
	CheckpointAge int64  `json:"checkpoint_age_ms,omitempty"` // for how long something applied has not been in a checkpoint
	Digest        string `json:"digest,omitempty"`            // as of Reply.Applied
	Limits        Limits `json:"limits"`
}

// Limits are those that the partition goes by, as of Reply.Applied; all are 0 in the answer of a build that does not tell them. They are record.Limits
// by the names of the log.
type Limits struct {
	Machine      int   `json:"machine"`
	MaxUserBytes int64 `json:"max_user_bytes"`
	MaxPending   int   `json:"max_pending"`
	OutcomesKeep int64 `json:"outcomes_keep_ms"`
	MaxKeys      int64 `json:"max_keys"`
	KeysKeep     int64 `json:"keys_keep_ms"`
}

// DeadLetter is one poison record.
type DeadLetter struct {
	ID      string `json:"id"`
	Whole   bool   `json:"whole_batch,omitempty"`
	Account string `json:"account,omitempty"`
	Reason  string `json:"reason"`
	At      int64  `json:"at"`
	Size    int    `json:"size"` // bytes
}
