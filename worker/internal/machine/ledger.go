package machine

// Ledger is what became of every record of a log since a message of it. It is a function of the log, like the state: a checkpoint holds it, so restarts, takeovers and
// replays count nothing twice. No judgement depends on it, and it is no part of the digest.
//
// What goes in is what the batches say that they carry, what comes out is what the judgement did with each line. So a line that is passed over, or that does two
// things, shows as a difference, and stays one.
type Ledger struct {
	Since   uint64 // sequence of the last message that is not counted
	Records uint64 // that went in; an unreadable batch is one

	Applied    uint64 // triggers, registrations and deletions that had their effect, or whose redirect waits
	Rejected   uint64 // with a reason
	Duplicate  uint64 // known already: a late copy, or an idempotency key
	Unreadable uint64 // dead letters of which nobody knows whose they were
	Control    uint64 // ticks and limits

	Events uint64 // the number of the last event, as it follows from the above
}

// NewLedger begins behind the last message of h.
func NewLedger(h *Head) Ledger { return Ledger{Since: h.Applied, Events: h.Events} }

// Add counts a message.
func (l *Ledger) Add(r *Result) {
	l.Records += uint64(max(r.Records, 1))
	l.Applied += uint64(r.Redirected - r.Fired + r.Updated + r.Scheduled + r.Registered + r.Deleted)
	l.Rejected += uint64(r.Rejected + r.Refused)
	l.Duplicate += uint64(r.Duplicates + r.Repeated)
	l.Unreadable += uint64(r.Unreadable)
	l.Control += uint64(r.Control)
	l.Events += uint64(r.Triggers - r.Repeated + r.Fired + r.Cancelled)
}

// Unaccounted is how many records went in of which nothing became; less than 0: more became of them than went in. It is 0.
func (l *Ledger) Unaccounted() int64 {
	return int64(l.Records - l.Applied - l.Rejected - l.Duplicate - l.Unreadable - l.Control)
}
