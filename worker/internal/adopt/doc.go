// Package adopt takes over a log that was restored with its tail missing: an operator has decided that the partition goes on with what there is.
//
// # Usage
//
//	report, err := adopt.Run(ctx, adopt.Config{Partition: 7, Path: file, Margin: adopt.DefaultMargin, Who: "ann"}, adopt.Deps{Broker: b})
//
// # What is wrong with such a log
//
// Triggers in the missing tail were accepted, and their ids handed out. Some were applied: files and snapshots reflect messages that are no more, and EVENTS-p
// holds what followed from them. A log that simply went on would give their sequences, and so their ids, to others.
//
// # Ordering
//
// The partition is paused, or halted everywhere, and nobody runs it. It is paused anew: the revision of that order is what makes the partition this
// run's. Then:
//
//   - The log is the known one, and takes a tick: what a leader says of its end may be old, what it acknowledges is not.
//   - The highest position that anybody has seen is found: the end of the log, the file, the snapshots, the events, and what the operator says.
//   - A base that fits (what stands furthest of the file and the snapshots that were made with no more events than EVENTS-p holds, or the first message of the log) is
//     replayed to the end of the log, and the events that follow are compared with those in EVENTS-p, newest first: up to where the two agree nothing is lost.
//     What was made with more events counts as lost: from a base before it they are derived again. If nothing but that will do Run refuses, or with
//     Config.EventsLost begins with it.
//   - Ticks are appended until the log ends beyond the highest position seen, by Config.Margin.
//   - If EVENTS-p goes on after what the two agree on, or lacks something, an empty message there says at which number events go on. This comes after the
//     ticks: behind it nobody looks for positions any more. With Config.EventsLost there are as many as it takes to reach the sequence that the base knows.
//   - A file that does not fit is put aside, snapshots that do not fit are taken off the list.
//   - The partition is resumed.
//
// Each step can be repeated, and so can all: what fails half-way, or is killed, is done again from the start. Every run leaves out Config.Margin sequences
// more.
//
// # What it cannot do
//
// Positions that were handed out and that nothing here has seen are not known; the margin is for them. A delayed redirect that fired in the missing tail fires
// again, and its event, of the same id, is in EVENTS-p twice. Events that EVENTS-p lacks and
// that follow from messages which were trimmed are gone. Ingresses must not append between the restore and the end of
// this: what they append is kept, but may have the ids of what is lost.
//
// # Failure
//
// Run says what it did until then. It refuses while somebody runs the partition, and a log that is not the known one. A server that elects a leader
// is waited for while ticks are appended; elsewhere Run ends, and is to be begun again.
//
// # Concurrency
//
// Of several Runs for a partition, on whatever machines, the one that took it last goes on; the others end before their next change with ErrInUse, and so
// does one whose partition an operator pauses or resumes meanwhile.
package adopt
