// Package store keeps one partition's state: an overlay in memory over a bbolt file that is committed in large
// sorted transactions in the background. FORMAT.md is the file's specification.
//
// # Usage
//
// Open, give the Store to a machine as its machine.Store, apply messages. Now and then, between two messages: Freeze
// with the checkpoint that the state belongs to, SetEmitted when it is known, Commit in a goroutine, and Release when
// Commit has returned nil. After a crash Last is the checkpoint from which the log has to be replayed. CopyTo copies the last checkpoint into
// another file; OpenReadOnly looks at a file without changing it.
//
// # Layers
//
// A read looks at the active generation, which takes all writes, then at the frozen one, which is being committed and
// doesn't change any more, and then at the file. What a generation holds shadows what is below it, so it does not matter whether
// a read sees the file before or after the commit of the frozen generation.
//
// # Ordering
//
// A commit writes the state, the head and the identity of the last message in one transaction: the file never
// holds one without the others. Only one generation is frozen at a time.
//
// # Failure
//
// A write to a Store never fails; it goes to memory. A failed Commit leaves the file as it was and the generation frozen:
// Commit can be called again, as often as one likes, and nothing is lost. ErrFull says that there was no room. A file that is not what it
// should be is ErrCorrupt, and it is left as it is: it is never deleted, never repaired and never taken for an empty
// one. Each value carries a checksum, so that a flipped byte is found when it is read; Verify looks at all of them.
//
// # Due entries
//
// A position has one entry in the due index at a time: it is put once, and deleted once.
//
// # Concurrency
//
// All methods are for the partition's goroutine, except that Commit and CopyTo run beside them; those two take turns. Close waits
// for whichever is running. Commit needs no read to come to an end but the one that is in progress: while it runs,
// every read from the file has a transaction of its own, because bbolt cannot let its file grow under an open one.
package store
