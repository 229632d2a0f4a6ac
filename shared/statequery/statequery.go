// Package statequery is how an ingress asks a partition's owner for state: requests on the subject state.p, answered
// with what the owner has applied. Wire types (JSON) and the client; the owner's side is worker/internal/partition.
package statequery

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/record"
)

// User names a user.
type User struct {
	Account string `json:"account"`
	User    string `json:"user"`
}

// Request asks exactly one question.
type Request struct {
	Check       []User         `json:"check,omitempty"`   // are these users known? ≤ MaxChecks
	User        *User          `json:"user,omitempty"`    // the user's state
	Outcome     *OutcomeOf     `json:"outcome,omitempty"` // what became of a record
	DeadLetters *DeadLettersOf `json:"dead_letters,omitempty"`
	WaitSeq     uint64         `json:"wait_seq,omitempty"` // answer only once this sequence is applied (or WaitMillis has passed)
	WaitMillis  int64          `json:"wait_ms,omitempty"`  // how long the owner may hold the answer (≤ 30 s)
}

const MaxChecks = 1000

// OutcomeOf names a record by id or by receipt, and whose it must be.
type OutcomeOf struct {
	Account string `json:"account"`
	ID      string `json:"id"`              // trigger id or receipt
	Final   bool   `json:"final,omitempty"` // hold the answer until the outcome is final
}

type DeadLettersOf struct {
	Account string `json:"account"`
	Limit   int    `json:"limit"`
}

// Reply carries the answer and the sequence up to which the owner had applied.
type Reply struct {
	Applied     uint64       `json:"applied"`
	Known       []bool       `json:"known,omitempty"` // Check: in the order asked; false is final
	User        *UserState   `json:"user,omitempty"`  // nil with User asked: not known (final)
	Outcome     *Outcome     `json:"outcome,omitempty"`
	DeadLetters []DeadLetter `json:"dead_letters,omitempty"`
	Error       string       `json:"error,omitempty"` // stable word: "not_found", "expired", "bad_request", "behind"(waited in vain), "overloaded"
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

type Pending struct {
	TriggerID string `json:"trigger_id"`
	ModuleID  int64  `json:"module_id"`
	DueAt     int64  `json:"due_at"`
}

type Change struct {
	TriggerID    string   `json:"trigger_id"`
	At           int64    `json:"at"`
	ModuleBefore *int64   `json:"module_before"`
	ModuleAfter  *int64   `json:"module_after"`
	Variables    []string `json:"variables"`
}

// Outcome is a record's fate. Status is a word of the HTTP contract.
type Outcome struct {
	TriggerID   string `json:"trigger_id"`
	UserID      string `json:"user_id"`
	Kind        string `json:"kind"` // trigger, register, delete
	Status      string `json:"status"`
	Reason      string `json:"reason,omitempty"`
	DuplicateOf string `json:"duplicate_of,omitempty"`
	AcceptedAt  int64  `json:"accepted_at"`
	AppliedAt   int64  `json:"applied_at,omitempty"` // 0 = not applied
	UserVersion uint64 `json:"user_version,omitempty"`
}

// DeadLetter is one poison record.
type DeadLetter struct {
	ID      string `json:"id"`
	Whole   bool   `json:"whole_batch,omitempty"`
	Account string `json:"account,omitempty"`
	Reason  string `json:"reason"`
	At      int64  `json:"at"`
	Size    int    `json:"size"`
}

var (
	// ErrSilent: no owner answered in time; nothing is known.
	ErrSilent = errors.New("partition's owner is silent")
	// ErrNotFound: the owner says that it does not exist (final).
	ErrNotFound = errors.New("not found")
	// ErrExpired: the outcome is no longer kept.
	ErrExpired = errors.New("outcome expired")
)

// Client asks over one connection. Safe for concurrent use.
type Client struct{}

func NewClient(conn *nats.Conn) *Client { panic("skeleton") }

// Ask sends one question to p's owner and waits for the answer until ctx ends; no responder and no answer are ErrSilent.
func (c *Client) Ask(ctx context.Context, p int, req Request) (Reply, error) { panic("skeleton") }

// Outcome asks for a record's fate, repeating over owner changes until it is final or wait has passed.
func (c *Client) Outcome(ctx context.Context, account string, p int, id string, wait time.Duration) (*Outcome, error) {
	panic("skeleton")
}

var _ = record.Version
