// Package trail finds out what a process was doing when it ended: which message of which partition it was applying, and whether it ended by a
// fatal error of its own.
//
// # Usage
//
//	t, err := trail.Open(dir, partitions)
//	for _, left := range t.Left() { … }      // tell somebody
//	err = t.Begin(run)                       // once they know
//	…
//	t.Mark(p, seq)
//	…                                        // apply the message
//	t.Clear(p)
//	…
//	t.Close()
//
// # What is kept
//
// The file breadcrumbs holds the run's name and a number for each partition: the sequence that is being applied, or 0. It is mapped into memory, so a mark is one
// store, and the kernel keeps it whatever becomes of the process. It is not synced: after a loss of power there may be older marks, or none, which
// is as good as no knowledge. The file crash gets what the runtime prints when a fatal error ends the process; on
// Begin it is put aside under a name with the time, for people, and the newest [KeepCrashes] of those are kept.
//
// # Ordering
//
// Until Begin returns the files say what the former run left, so that a process that ends while it still looks for somebody to tell leaves the same
// again, under the same run's name. Mark and Clear are for after Begin.
//
// # Failure
//
// Open fails if the files cannot be made. Breadcrumbs of another format, or of another number of partitions, count as none. Where there is no
// mapping of files a mark is a write.
//
// # Concurrency
//
// Mark and Clear may be called at once for different partitions, for one by one goroutine at a time. The runtime has one crash output in a process: of several trails that are
// open in one, the last one opened gets it, and the ends of the others look like kills.
package trail
