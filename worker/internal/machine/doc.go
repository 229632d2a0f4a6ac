// Package machine is the deterministic state machine of one partition: it reads the messages of
// one log in order and derives users, outcomes and events from them.
//
// Everything that decides what becomes of a trigger is here, and nothing else is: no I/O of its
// own, no wall clock, no randomness, no dependence on the order of a Go map. Equal logs give
// equal states, equal outcomes and equal events, byte for byte, on every worker and on every
// replay. The rest of a worker rests on that: checkpoints, takeovers and exactly-once emission
// are only correct because a second run cannot differ from the first.
//
// # Usage
//
// New continues from a Head (the zero Head for a new log) over a Store that holds the state as of
// Head.Applied. Apply takes the log's messages one by one; it changes the Store and hands the
// derived events to a callback. The Head that belongs to the Store's content is Machine.Head,
// between two calls of Apply and never during one.
//
// # How a message is applied
//
//   - The batch is read. An unreadable one is a single dead letter.
//   - Stream time moves to max(before, min(server's clock, writer's clock)).
//   - A numbered batch that is not higher than its writer's highest is a late copy: its records
//     become outcomes `duplicate` and change nothing.
//   - If a new hour of stream time begins, outcomes too old to be asked for and idempotency keys known no more
//     are dropped, and writers not seen for a day are forgotten.
//   - Every redirect due by the stream time fires, in the order (due, position).
//   - The records are judged one after the other. What one record did is seen by the next.
//
// # Judgement and effects
//
// A record is judged by a pure function of the record, its user, the limits and the stream time.
// The function has no Store: it only fills in effects, which are written to the Store after it has
// returned. So a record is applied as a whole or not at all, whatever happens in between.
//
// # Idempotency keys
//
// A trigger's key is looked up before the user is. It is remembered with the trigger, also when that is rejected, for exactly
// Limits.KeysKeep of stream time, and outlives its user. While it is, a trigger with the same key and
// fingerprint is a `duplicate` of the first, and one with another fingerprint is rejected. A new key over the budget (Limits.MaxKeys)
// is rejected, and none is forgotten early to make room.
//
// # Time
//
// All times are Unix milliseconds. A delayed redirect is due at the stream time of its record plus
// its wait; it fires when a later message, a tick if need be, carries stream time there. A due
// time is never compared with a wall clock.
//
// # Limits
//
// The limits that judgement obeys come from configure records in the log. The first record of a
// log has to be one: an unconfigured machine judges nothing.
//
// # Failure
//
//   - A record that cannot be decoded, or whose judgement panics, is a dead letter (and, as far as
//     its account and user can be read, an outcome `rejected` for `poison`); the next record is
//     applied as if it had not been there.
//   - Everything that makes the state doubtful (a Store that cannot read, a newer record format, a
//     newer machine version, a position that goes backwards, a due entry that its user does not
//     know) is an error that wraps ErrHalt. A message may then be half applied: the caller gives up
//     the Store since its last checkpoint, and the events of that message. The machine is stuck from then
//     on and returns the same error for every message.
//   - A panic of the Store or of the emit callback is not recovered: it is a bug outside of the
//     judgement, and not a property of the record.
//
// # Changing the judgement
//
// Any change that alters an outcome, an event, or a dead letter for some log is a new version
// (Limits.Machine), chosen by a configure record; the old one stays as long as logs or
// snapshots from before are around. Words that are stored (reasons) are part of the judgement.
//
// # Concurrency
//
// A Machine is for one goroutine. A *User that was given to a Store is immutable and may be read
// by anyone. An Event, and all that it refers to, is valid only during the callback. Nothing
// that is kept refers to the message's payload.
package machine
