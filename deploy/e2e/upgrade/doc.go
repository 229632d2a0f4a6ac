// Package upgrade tests that a deployment can be upgraded while it works, and taken back: processes of two builds run side by side on one log, under load. There
// is nothing in it to import.
//
// # Usage
//
//	make upgrade-test               # from the commit before
//	make upgrade-test FROM=6d7f480  # from that one
//
// The tests have the build tag upgrade, because they need the history, which an archive of the sources does not have: without it they fail, and say so.
//
// # Ordering
//
// Workers are replaced one by one, then ingresses: readers of a new format come before its writers (shared/record/FORMAT.md). Going back is the other way
// round. One worker of each direction comes with an empty disk, and so begins with a snapshot that the other build made; the others open the files that
// the other build wrote. After each step every partition has an owner and a standby, whose states are compared, and every log has grown.
//
// # Failure
//
// The test fails if the ledger of the load does not agree with states, outcomes and events, if a process ends otherwise than with 0 or writes an error, if
// owner and standby ever differ, if a partition halts, or if there is a dead letter.
package upgrade
