package chaos

import "time"

// Result is what a caller heard of an attempt.
type Result int

const (
	Unknown  Result = iota // nothing, or that nobody knows: it may be stored, once
	Accepted               // 200: it is stored
	Refused                // everything else: nothing is stored
)

// Attempt is one request to trigger something. Its number is one variable that it sets.
type Attempt struct {
	N        int
	Redirect bool
	Module   int64
	Wait     time.Duration // of the redirect
	Sent     time.Time
	Answered time.Time

	Keyed bool // sent again under its idempotency key until it is known to be accepted

	Result  Result
	ID      string // of an accepted one
	Receipt string // of an unknown one, if the ingress gave it one
	maybe   bool   // an answer left it open whether it was stored
	Settled bool   // the result was known when the next attempt was sent
}

// delayed: it has two halves.
func (a *Attempt) delayed() bool { return a.Redirect && a.Wait > 0 }

// far redirects do not fire while a run lasts.
const far = 20 * time.Hour

// User is one user's part of the load. Attempts were made one after the other.
type User struct {
	Name      string
	Partition int
	Ghost     bool // was never registered: all it can get is a rejection
	Attempts  []Attempt
}

// Event is a CloudEvent as its readers see it.
type Event struct {
	ID      string    `json:"id"`
	Source  string    `json:"source"`
	Type    string    `json:"type"`
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	Data    struct {
		ModuleAfter int64          `json:"module_after"`
		Variables   map[string]int `json:"variables"`
		Version     uint64         `json:"version"`
		Reason      string         `json:"reason"`
		TriggerID   string         `json:"trigger_id"`
	} `json:"data"`
}

// Types of events.
const (
	typeRedirected = "triggerd.conversation.redirected"
	typeUpdated    = "triggerd.conversation.updated"
	typeRejected   = "triggerd.trigger.rejected"
)

// Message is one message of EVENTS-p.
type Message struct {
	Seq         uint64
	First, Last string // as its headers have them
	Events      []Event
}

// State is a user as the API shows it.
type State struct {
	Module  int64          `json:"module_id"`
	Vars    map[string]int `json:"custom_vars"`
	Version uint64         `json:"version"`
	Pending []struct {
		TriggerID string    `json:"trigger_id"`
		DueAt     time.Time `json:"due_at"`
	} `json:"pending_redirects"`
	Changes []struct {
		TriggerID string `json:"trigger_id"`
	} `json:"changes"`
}

// Cut is a log that lost its tail, and was adopted without it.
type Cut struct {
	Partition  int
	Kept, Last uint64          // where the log ended after that, and before
	Lost       map[string]Lost // the triggers in between, by id
	Adopted    time.Time       // whoever sent something after that must not get an id that was handed out before
}

// Lost is a trigger that was in a lost tail.
type Lost struct {
	User string
	N    int
}

// Evidence is what came of the load.
type Evidence struct {
	Cuts     []*Cut            // in the order in which they were made
	Streams  [][]Message       // by partition
	States   map[string]*State // by user; nil: there is none
	Outcomes map[string]string // status of some triggers, by id; empty: there is none
}
