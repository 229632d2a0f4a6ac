package store

import (
	"errors"
	"sync/atomic"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Errors that callers tell apart. Each is wrapped with what was being done.
var (
	ErrLocked  = errors.New("file is in use by another process")
	ErrVersion = errors.New("file has an unknown format version")
	ErrForeign = errors.New("file belongs to another log or partition")
	ErrCorrupt = errors.New("file is corrupt")
	ErrFull    = errors.New("no room for the file to grow")
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
	Ledger     machine.Ledger
	EmittedSeq uint64 // EVENTS-p sequence of the message that carried event Head.Events (or a later one)
}

// Store implements machine.Store. Methods are for the partition's goroutine alone, except Commit.
type Store struct {
	file *file
	opts Options
	last Checkpoint
	has  bool // last is a checkpoint

	lastDigest uint64 // of last
	logID      string // what the file says of itself
	partition  int
	hasLog     bool

	active *generation
	frozen *generation // nil: none
	cache  cache

	filters filters // of idempotency keys

	looked lookup // of the last user asked for
	sched  schedule
	key    []byte // scratch
}

var _ machine.Store = (*Store)(nil)

func newStore(f *file, opts Options) *Store {
	s := &Store{file: f, opts: opts, active: newGeneration(0), cache: cache{limit: opts.CacheBytes}}
	s.sched.window.size = defaultWindow
	return s
}

// Last is the checkpoint in the file; ok false for a new file.
func (s *Store) Last() (c Checkpoint, ok bool) {
	c = s.last
	c.Head = c.Head.Clone()
	return c, s.has
}

// Freeze ends the active generation at c and starts a new one. Only one generation may be frozen at a time: a second Freeze before Release
// is a bug, and panics.
func (s *Store) Freeze(c Checkpoint) {
	if s.frozen != nil {
		panic("store: freeze while a generation is frozen")
	}
	c.Head = c.Head.Clone()
	s.frozen, s.active = s.active, newGeneration(len(s.active.users))
	s.frozen.checkpoint = c
	s.looked.forget()
}

// SetEmitted sets the frozen checkpoint's EmittedSeq, which becomes known only when the events of the generation are
// acknowledged. After Freeze, and before Commit starts.
func (s *Store) SetEmitted(seq uint64) {
	if s.frozen == nil {
		panic("store: set emitted without a frozen generation")
	}
	s.frozen.checkpoint.EmittedSeq = seq
}

// Release makes the committed generation's memory free; partition's goroutine, after Commit returned nil. Without a
// committed generation it panics: memory would be lost that is nowhere else.
func (s *Store) Release() {
	if s.frozen == nil || !s.frozen.committed.Load() {
		panic("store: release of a generation that is not committed")
	}
	s.sched.release(s)
	s.last, s.has, s.lastDigest = s.frozen.checkpoint, true, s.frozen.digest
	s.logID, s.partition, s.hasLog = s.last.LogID, s.last.Partition, true
	s.cache.retire(s.frozen)
	s.frozen = nil
}

// Dirty is what the active generation holds: users touched, and bytes (estimated).
func (s *Store) Dirty() (users int, bytes int64) { return len(s.active.users), s.active.bytes }

// Close abandons what is not committed. It may be called more than once.
func (s *Store) Close() error { return s.file.close() }

// generation is all that was written between two checkpoints. Once frozen nothing in it changes but the heap, which is the
// partition goroutine's.
type generation struct {
	checkpoint Checkpoint // once frozen
	digest     uint64     // of the file with this generation in it; once committed
	committed  atomic.Bool

	index map[string]int32 // user key to users
	users []userEntry

	due  map[record.Position]dueOp
	heap dueHeap

	dropBefore int64    // hours below are dropped; hours of this generation came afterwards
	hours      []hourly // ascending
	dropKeys   int64    // the same for idempotency keys
	keyHours   []keyHour
	dead       []deadEntry

	data  arena // sealed values
	bytes int64 // estimate of all
}

// newGeneration makes room for about as many users as the last one held.
func newGeneration(users int) *generation {
	return &generation{
		index: make(map[string]int32, users), users: make([]userEntry, 0, users),
		due: make(map[record.Position]dueOp), dropBefore: noHour, dropKeys: noHour,
	}
}
