package machine

import "errors"

// Message is one entry of TRIGGERS-p as the server stored it.
type Message struct {
	Seq     uint64
	Time    Millis // the server's timestamp
	Header  map[string][]string
	Payload []byte // the caller's again after Apply
}

// Result counts what a message did, for metrics.
type Result struct {
	Records     int // records in the message, of every kind, readable or not; 0 for an unreadable batch
	Triggers    int // trigger records judged: the sum of Repeated and of the immediate part of the next four
	Redirected  int // conversations moved: at once, or because a delayed redirect fired
	Updated     int // triggers that asked for no redirect
	Scheduled   int // triggers whose redirect waits
	Rejected    int // triggers rejected; with Cancelled, the rejected events
	Repeated    int // triggers whose idempotency key was known with the same request
	Registered  int // registrations applied
	Deleted     int // deletions applied
	Refused     int // registrations and deletions rejected
	Fired       int // delayed redirects among Redirected
	Cancelled   int // delayed redirects that a deletion cancelled
	Duplicates  int // records of a late copy
	DeadLetters int
	Unreadable  int // those of which nothing else became: nobody knows whose they were
	Control     int // ticks and limits

	SkippedBatch bool   // a late copy
	ClockSkew    Millis // server's minus writer's clock; 0 for an unreadable batch
	// Panic is the last panic of a judgement in this message, with its stack, for the log. It is not part of the
	// state. Its text can hold what the code saw, so it is nothing for a client.
	Panic error
	// PanicTrace is the traceparent of the record that was judged then, empty = none.
	PanicTrace string
}

// ErrHalt wraps errors after which the partition must stop rather than guess: unknown record version,
// unknown machine version, store failure, position out of order.
var ErrHalt = errors.New("partition halted")
