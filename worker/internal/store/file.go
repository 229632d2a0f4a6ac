package store

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// table is a bucket of entries. The numbers go into checksums: never change one.
type table uint8

const (
	users table = iota + 1
	due
	scheduled
	outcomes // a bucket for each hour in it
	batches  // a bucket for each hour in it
	deadLetters
	idempotency // a bucket for each hour in it; since version 2 of the file
	tableEnd
)

// bucketNames are part of the file's format.
var bucketNames = [tableEnd][]byte{
	users: []byte("users"), due: []byte("due"), scheduled: []byte("scheduled"),
	outcomes: []byte("outcomes"), batches: []byte("batches"), deadLetters: []byte("deadletters"), idempotency: []byte("idempotency"),
}

// fillPercent says how full a page is left when it is split. Where keys only rise a page is never touched again.
var fillPercent = [tableEnd]float64{users: 0.7, due: 0.9, scheduled: 0.95, outcomes: 0.98, batches: 0.7, deadLetters: 0.98, idempotency: 0.7}

// file is the bbolt file and the transaction that lookups share.
type file struct {
	db      *bbolt.DB
	handle  *os.File    // below db
	broken  atomic.Bool // a commit panicked, and bbolt's locks are held for ever
	writing sync.Mutex  // held by a commit, and by a copy

	mu         sync.Mutex
	open       *reader // kept between lookups; nil while committing
	committing bool
}

// reader is a read transaction with its buckets looked up once, when they are needed.
type reader struct {
	tx      *bbolt.Tx
	buckets [tableEnd]*bbolt.Bucket
}

// read locks the file for one lookup. It has to be followed by done.
func (f *file) read() (*reader, error) {
	f.mu.Lock()
	if f.open != nil {
		return f.open, nil
	}
	tx, err := f.db.Begin(false)
	if err != nil {
		f.mu.Unlock()
		return nil, err
	}
	f.open = &reader{tx: tx}
	return f.open, nil
}

// done ends a lookup. A transaction that stays open would hold up a commit for ever: bbolt has to
// wait for all readers before it can map a larger file.
func (f *file) done() {
	if f.committing {
		f.drop()
	}
	f.mu.Unlock()
}

func (f *file) drop() {
	if f.open != nil {
		_ = f.open.tx.Rollback() // a read transaction has nothing to lose
		f.open = nil
	}
}

// setCommitting brackets a commit. The shared transaction ends at its start, or the pages that the last commit freed could not be used
// again, and at its end, so that the next lookup sees what was committed.
func (f *file) setCommitting(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committing = on
	f.drop()
}

func (f *file) close() error {
	f.mu.Lock()
	f.drop()
	f.mu.Unlock()
	if f.broken.Load() { // closing would wait for a lock that nobody gives back
		handle := f.handle
		if f.handle = nil; handle == nil {
			return nil
		}
		return abandon(handle)
	}
	return f.db.Close()
}

// table is a table's bucket; nil if the file is of a version that does not have it.
func (r *reader) table(t table) (b *bbolt.Bucket, err error) {
	if r.buckets[t] == nil {
		r.buckets[t], err = tableOf(r.tx, t)
	}
	return r.buckets[t], err
}

func tableOf(tx *bbolt.Tx, t table) (*bbolt.Bucket, error) {
	b := tx.Bucket(bucketNames[t])
	if b != nil || t.since() > formatOf(tx) {
		return b, nil
	}
	return nil, corrupt("bucket %s is missing", bucketNames[t])
}

// bucket is where entries of a table are; nil if there are none of that hour.
func (r *reader) bucket(t table, hour int64) (*bbolt.Bucket, error) {
	b, err := r.table(t)
	if b == nil || !t.hourly() {
		return b, err
	}
	key := hourKey(hour)
	return b.Bucket(key[:]), nil
}

func (t table) hourly() bool { return t == outcomes || t == batches || t == idempotency }

// since is the version of the file from which on it has the table.
func (t table) since() byte {
	if t == idempotency {
		return 2
	}
	return 1
}

// get is the content of an entry, valid until the lookup is done; nil if there is none.
func (r *reader) get(t table, hour int64, key []byte) ([]byte, error) {
	b, err := r.bucket(t, hour)
	if b == nil {
		return nil, err
	}
	sealed := b.Get(key)
	if sealed == nil {
		return nil, nil
	}
	return unseal(t, hour, key, sealed)
}

// guard makes an error of a panic or a fault that a damaged file leads bbolt into; a page number out of range
// reads beyond the end of the file. Use: defer guard()(&err).
func guard() func(*error) {
	before := debug.SetPanicOnFault(true)
	return func(err *error) {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = corrupt("bbolt: %v", p)
		}
	}
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// classify adds what callers can tell apart to an error of bbolt or of the operating system.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch),
		errors.Is(err, berrors.ErrIncompatibleValue), errors.Is(err, berrors.ErrBucketNotFound):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}
