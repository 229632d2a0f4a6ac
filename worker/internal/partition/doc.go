// Package partition runs one partition: it reads the partition's log, lets the machine judge each message, emits the events
// that the machine derives, makes checkpoints, answers questions about state, and keeps time when the log is silent.
//
// # Usage
//
// [New] makes a [Partition], [Partition.Run] lives its whole life once and blocks until it is drained, halted or aborted.
// Everything else ([Partition.Status], [Partition.Check], [Partition.Digest]) may be called at any time, also before
// and after.
//
// A life goes through the states in this order: opening → checking → (restoring →) replaying → serving → draining → stopped; halted
// takes the place of stopped wherever going on would mean guessing.
//
// # Roles
//
// [Partition.Lead] and [Partition.Follow] say at any time what a partition is to be. Whoever leads emits, ticks and, once it has applied all that was in
// the log when it was told to, serves. Whoever follows is a standby: replaying → following; it applies and makes checkpoints as well, and learns
// from EVENTS-p itself what its owner has emitted. What that has not emitted yet the standby keeps, within the bounds, so that it can go on from any event when it is to
// lead. Now and then it compares a digest of its state with the owner's at the same position.
//
// # Ordering
//
// One goroutine, the actor, owns the machine, the store, the outbox and the questions that wait. It does one thing at a time: apply
// a message, answer a question, note an acknowledgement. Messages are applied in the order of the log without gaps:
// sequence = last + 1, or the partition halts. Events reach EVENTS-p in the order of their numbers, each
// once. A checkpoint is committed only after all events that it covers are acknowledged, so a partition that starts again derives at
// least everything that is not in EVENTS-p yet, with the same numbers, and skips what is there.
//
// # Where a life begins
//
// With the partition's own file if it fits the log: the message at its sequence is the one that was applied. With the newest snapshot that fits, if
// there is no such file, or it spares the replay of many messages. With the log's first message if there is neither file nor snapshot. Which snapshots
// there are must be known before anything is begun without a file. A file or a snapshot of this log that is ahead of it, or of
// another message, proves that the log lost its tail: the partition halts. So does the end of EVENTS-p, which names the message that it followed from:
// the log may have grown since, to as many events, and who has not applied what was lost could tell by nothing else.
//
// The partition that serves makes snapshots, by time and by volume, and trims the log behind the older one of two (package snapshot). A log that is nearly
// full gets them at once, if need be two of one position.
//
// # Failure
//
// A file that is damaged, or another log's, is set aside under another name, never deleted, and the partition begins another life without it, also
// when the damage is found while it runs: when it is read, when a snapshot is made (which reads everything), or before a halt that it might have caused.
// More than a few times an hour is too often: it halts. A partition under which the log was trimmed begins anew with a snapshot. A file of an
// unknown version halts, and is left as it is.
//
// A broker that is away is waited for, without end and without a restart. A log that is not the one whose state the file holds, an events stream that lost
// events, a machine that does not understand its log, a store that cannot be read: the partition halts with a [HaltError] that says what happened, what
// was kept and what to do. If it is the broker that says so, it is asked again and again for Config.HaltAfter first, because what it says may be
// over in a moment; until then nothing is read or emitted on, and readiness says what is in doubt. A checkpoint that cannot be written is tried
// again; applying goes on until the overlay is full. Two owners of one partition are harmless: each has its own file, and EVENTS-p takes each
// number from whoever comes first.
//
// # Bounds
//
// Messages in hand, unacknowledged events, the overlay and waiting questions are bounded by [Config]. The bounds are looked at
// between messages: one message may overshoot by what it derives, as a tick that fires every redirect that
// is due at that moment does.
//
// # Concurrency
//
// Helper goroutines (the log's reader, the sender of events, a commit, reads from the stream's leader, the subscription for
// questions and the writer of answers) never touch the actor's fields; they hand over through channels.
// Run returns when all of them have ended.
package partition
