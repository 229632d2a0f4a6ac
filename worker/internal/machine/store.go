package machine

import "github.com/triggerd/triggerd/shared/record"

// Store holds what does not fit in the head. All calls come from the partition's goroutine, and every write
// is seen by the reads after it. A read error stops the machine: it is never taken for "not there".
// Writes do not fail: they go to memory, and what becomes durable when is the owner's matter.
//
// Byte slices that a Store is given belong to the caller again when the call returns; a *User stays
// the Store's. Byte slices that it returns are valid until its next write.
type Store interface {
	User(account, user []byte) (*User, error) // nil: not known
	PutUser(account, user []byte, u *User)    // nil deletes

	// NextDue is the earliest entry of the due index.
	NextDue() (d Due, account, user []byte, ok bool, err error)
	PutDue(d Due, account, user []byte)
	DeleteDue(d Due)
	// DueOf finds a scheduled trigger by its position, for outcome queries.
	DueOf(p record.Position) (d Due, account, user []byte, ok bool, err error)

	// Outcomes are kept in buckets of one stream-time hour (HourOf).

	// PutOutcomes stores the outcomes of all records of one message that have one (a tick has none), once, in
	// the order of their positions. outs is the caller's again afterwards, its strings may be kept.
	PutOutcomes(hour int64, seq uint64, outs []Outcome)
	// PutOutcome stores the outcome of one record that changed after its message (a redirect fired
	// or was cancelled); it shadows that of PutOutcomes. Never called before the record's own PutOutcomes.
	PutOutcome(hour int64, out Outcome)
	Outcome(p record.Position) (Outcome, bool, error) // newest answer over all kept hours
	// PutBatch remembers where a numbered batch lies, for receipts and to name the original of a late copy.
	PutBatch(hour int64, writer string, number uint64, seq uint64)
	Batch(writer string, number uint64) (seq uint64, ok bool, err error)
	// DropHours forgets the buckets of all hours before the given one.
	DropHours(before int64)

	// Idempotency keys are kept in buckets of the stream-time hour in which they were remembered. A key may be remembered anew once it is
	// known no more: in a later hour, or in the same in its own place.

	PutKey(hour int64, account, user, key []byte, k Key)
	Key(account, user, key []byte) (k Key, ok bool, err error) // the newest that was not dropped
	// DropKeys forgets the buckets of all hours before the given one.
	DropKeys(before int64)

	PutDeadLetter(d DeadLetter)                  // d.Data is the Store's
	DeadLetters(limit int) ([]DeadLetter, error) // the newest, newest first
}

// hourMillis is one bucket of outcomes, or of idempotency keys.
const hourMillis = 60 * 60 * 1000

// HourOf is the bucket of outcomes that become final at t, and of keys that are remembered then.
func HourOf(t Millis) int64 { return t / hourMillis }

// HourStart is the first moment of an hour.
func HourStart(hour int64) Millis { return hour * hourMillis }
