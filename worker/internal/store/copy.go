package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
)

// Copied says what a copy of the file holds.
type Copied struct {
	Checkpoint
	Digest uint64 // as LastDigest of the copy
	Bytes  int64  // of the copy
}

// ErrEmpty: the file has no checkpoint yet, so there is nothing to copy.
var ErrEmpty = errors.New("file has no checkpoint yet")

// CopyTo writes the last committed checkpoint into a file of its own, as fast as the disk allows. It may be called from any goroutine, beside
// the partition's; a Commit waits until it is over, and it for a Commit. So nobody waits for its transaction: bbolt holds
// up all readers while a commit that wants to map a larger file waits for the oldest of them.
//
// The copy is a file like any other, not synced. What was written of it is removed if CopyTo returns an error: the context's, ErrEmpty,
// ErrCorrupt, ErrFull.
func (s *Store) CopyTo(ctx context.Context, path string) (Copied, error) {
	c, err := s.file.copyTo(ctx, path)
	if err != nil {
		return Copied{}, fmt.Errorf("copy to %s: %w", path, classify(err))
	}
	return c, nil
}

func (f *file) copyTo(ctx context.Context, path string) (c Copied, err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	defer guard()(&err)
	tx, err := f.db.Begin(false)
	if err != nil {
		return c, err
	}
	defer tx.Rollback()
	meta, err := readMeta(tx)
	if err != nil {
		return c, err
	}
	if !meta.has {
		return c, ErrEmpty
	}
	c = Copied{Checkpoint: meta.checkpoint, Digest: meta.digest()}
	c.Bytes, err = writeCopy(ctx, tx, path)
	return c, err
}

// writeCopy leaves a whole file behind, or none.
func writeCopy(ctx context.Context, tx *bbolt.Tx, path string) (size int64, err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	whole := false
	defer func() {
		err = errors.Join(err, out.Close())
		if !whole || err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	w := &cautious{ctx: ctx, w: out}
	if size, err = tx.WriteTo(w); w.err != nil { // bbolt keeps only its text
		err = w.err
	}
	whole = err == nil
	return size, err
}

// cautious stops when its context ends. It is written to in small pieces.
type cautious struct {
	ctx context.Context
	w   io.Writer
	err error // the first
}

func (c *cautious) Write(p []byte) (n int, err error) {
	if c.err = c.ctx.Err(); c.err == nil {
		n, c.err = c.w.Write(p)
	}
	return n, c.err
}

// OpenReadOnly opens a file to look at it; it must exist, and nothing in it changes. What the Store's methods write stays in memory, and Commit
// fails. Errors are those of Open. A file that another process has open for writing is ErrLocked: look at a copy.
func OpenReadOnly(path string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	opts.readOnly = true
	s, err := openExisting(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

// Exists says whether there is a file, whatever is in it.
func Exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Log is whose state the file is for, by its own account; ok is false if it was made without saying so and has no checkpoint.
func (s *Store) Log() (id string, partition int, ok bool) {
	return s.logID, s.partition, s.hasLog
}

// LastDigest is the digest of the state as of Last, kept up to date by Commit: asking costs nothing. 0 for a new file.
func (s *Store) LastDigest() uint64 { return s.lastDigest }
