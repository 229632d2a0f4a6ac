// Package store keeps one partition's state: an overlay in memory over a bbolt file, committed in large sorted
// transactions in the background. FORMAT.md is the file's specification.
package store

import (
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Identity ties a file to the log whose state it holds.
type Identity struct {
	LogID     string
	Partition int
	Seq       uint64 // last sequence reflected
	Time      int64  // that message's server timestamp, Unix nanoseconds
	Hash      uint64 // xxhash64 of its payload
}

// Checkpoint is what a commit makes durable, together with all state up to Identity.Seq.
type Checkpoint struct {
	Identity
	Head       machine.Head
	EmittedSeq uint64 // EVENTS-p sequence of the message that carried event Head.Events (or a later one)
}

// Store implements machine.Store. Methods are for the partition's goroutine alone, except Commit.
type Store struct{}

// Options: see the helper's work.
type Options struct{}

// Open opens or creates the file. ErrLocked: another process has it. ErrVersion: written by a newer triggerd. ErrForeign: of another log or partition. ErrCorrupt.
func Open(path string, opts Options) (*Store, error) { panic("skeleton") }

// Last is the checkpoint in the file; ok false for a new file.
func (s *Store) Last() (c Checkpoint, ok bool) { panic("skeleton") }

// Freeze ends the active generation at c and starts a new one. Only one generation may be frozen at a time.
func (s *Store) Freeze(c Checkpoint) { panic("skeleton") }

// Commit writes the frozen generation in one transaction; runs in the background, beside reads and writes of
// the partition's goroutine. On an error the generation stays frozen and Commit may be tried again.
func (s *Store) Commit() error { panic("skeleton") }

// Release makes the committed generation's memory free; partition's goroutine, after Commit returned nil.
func (s *Store) Release() { panic("skeleton") }

// Dirty is what the active generation holds: users touched, and bytes (estimated).
func (s *Store) Dirty() (users int, bytes int64) { panic("skeleton") }

// Digest is a 64-bit digest of the whole state at this moment, whatever the rhythm of checkpoints was: equal logs give equal digests.
func (s *Store) Digest(head machine.Head) (uint64, error) { panic("skeleton") }

// Close abandons what is not committed.
func (s *Store) Close() error { panic("skeleton") }
