// Package snapshot keeps copies of a partition's state in the deployment's object store, so that a worker without a file need not replay the
// whole log, and the log need not be kept for ever. FORMAT.md is the specification of what lies there.
//
// # Usage
//
// [New] makes the [Shelves] of a process, [Shelves.Of] the [Shelf] of one partition. [Shelf.Make] puts a snapshot on it, [Shelf.List] says what is
// there, [Shelf.Restore] makes a file of a snapshot, [Shelf.Trim] drops the part of the log that no snapshot needs.
//
// # Ordering
//
// Make goes through its steps in this order: look (what is there) → copy (into a local file, at full speed) → check (every entry of the copy, so
// that damage is never kept in place of the log) → upload (compressed, throttled, under a name that was never used) → seal (the object's
// metadata, once all of its chunks are acknowledged) → read back (from the store, decompressed, compared) → point (the pointer, by
// compare-and-set on the revision that was seen at first) → drop (objects that nothing names). A snapshot exists from point on, and not before.
//
// # Failure
//
// A Make that fails, at whichever step, changes nothing but that it may leave an object behind that nothing names; a later Make removes it.
// It removes only what was there before it began and had not changed when it set the pointer. Whoever may still be working on such an object began
// with the pointer that is now replaced, and so is refused: an object that a pointer names, or may yet come to name, is never removed.
// Two workers that make snapshots of one partition at once: one of them gets [ErrRaced].
//
// That there is no snapshot, and that it cannot be told, are different answers: an empty list, and an error. Likewise [ErrDamaged] says that
// a snapshot is not what its entry says, and every other error of Restore that it could not be read now.
//
// # Bounds
//
// One snapshot is made at a time in a process, at [Config.Rate]; in memory it takes a few chunks and the compressor's window. On disk it takes
// one copy of the partition's file, beside it, and a restore takes one as well. What is decompressed is held to the size that the entry
// says, and that to [Config.MaxBytes].
//
// # Concurrency
//
// Shelves and Shelf are safe for concurrent use, except that only one Make and one Restore of a Shelf may run at a time, because each has
// one temporary file.
package snapshot
