package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// formatVersion is the newest version of the file's format as a whole. A file is of the lowest that can hold what is in it.
const formatVersion = 2

// minSize is what bbolt writes into a new file on a system with the smallest pages: four of them.
const minSize = 4 * 4096

// Defaults of Options.
const (
	DefaultLockTimeout = 500 * time.Millisecond
	DefaultCacheBytes  = 16 << 20
)

// Options of a Store. Zero values stand for the defaults.
type Options struct {
	LogID     string // of the log whose state is wanted; empty: whichever the file holds
	Partition int    // counts only with LogID

	MaxSize     int64         // bytes that the file may have; 0 = no limit. It grows in steps of 16 MiB
	LockTimeout time.Duration // how long to wait for another process to let go of the file
	CacheBytes  int64         // each half of the cache of users who are not being written to, by estimate; negative = no cache

	// Breathe, if set, is called by Commit before each entry that it writes, and may take its time.
	Breathe func()

	// Failpoint, if set, is called by Commit at StepInTransaction. An error aborts the transaction, as a crash would. For tests.
	Failpoint func(step string) error

	readOnly bool // see OpenReadOnly
}

func (o Options) withDefaults() Options {
	if o.LockTimeout == 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	return o
}

func (o Options) bolt() *bbolt.Options {
	return &bbolt.Options{
		Timeout: o.LockTimeout, MaxSize: int(o.MaxSize), FreelistType: bbolt.FreelistMapType, NoStatistics: true, ReadOnly: o.readOnly,
	}
}

// Open opens or creates the file; its folder must exist. Errors wrap ErrLocked: another process has it. ErrVersion: written by
// a newer triggerd. ErrForeign: of another log or partition. ErrCorrupt: it is no file of a Store, or not whole. None
// of them changes the file.
func Open(path string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	s, err := open(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

func open(path string, opts Options) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, opts); err != nil {
			return nil, err
		}
	}
	return openExisting(path, opts)
}

func openExisting(path string, opts Options) (*Store, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() < minSize { // bbolt would begin a new file in an empty one
		err = corrupt("it has %d bytes, fewer than any whole file", info.Size())
	}
	if err != nil {
		return nil, err
	}
	db, handle, err := openBolt(path, opts)
	if err != nil {
		return nil, err
	}
	s := newStore(&file{db: db, handle: handle}, opts)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// create makes a new file under another name and gives it its own once it is whole. So a file that exists always was one: an
// empty one is a damaged one, and not a new one.
func create(path string, opts Options) error {
	unfinished := path + ".new"
	db, _, err := openBolt(unfinished, opts)
	if err != nil && !errors.Is(err, ErrLocked) { // left behind by a crash
		if err := os.Remove(unfinished); err != nil {
			return err
		}
		db, _, err = openBolt(unfinished, opts)
	}
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := os.Stat(path); err == nil { // another process was faster
		return nil
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return initialise(tx, opts) }); err != nil {
		return classify(err)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openBolt opens a bbolt file and takes its lock. A panic or a fault of bbolt is ErrCorrupt.
func openBolt(path string, opts Options) (db *bbolt.DB, opened *os.File, err error) {
	defer guard()(&err)
	options := opts.bolt()
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		opened = f
		return f, err
	}
	finished := false
	defer func() {
		if !finished && opened != nil {
			_ = abandon(opened)
		}
	}()
	db, err = bbolt.Open(path, 0o600, options)
	finished = true
	if err != nil {
		return nil, nil, classify(err)
	}
	return db, opened, nil
}

// load reads what the file says about itself, its version first.
func (s *Store) load() (err error) {
	r, err := s.file.read()
	if err != nil {
		return err
	}
	defer s.file.done()
	defer guard()(&err)
	meta, err := readMeta(r.tx)
	if err != nil {
		return err
	}
	for t := users; t < tableEnd; t++ {
		if _, err := r.table(t); err != nil {
			return err
		}
	}
	s.last, s.has, s.lastDigest = meta.checkpoint, meta.has, meta.digest()
	s.logID, s.partition, s.hasLog = meta.logID, meta.partition, meta.hasLog
	if err := s.filters.load(r); err != nil {
		return err
	}
	return errors.Join(checkSize(r.tx), meta.checkLog(s.opts))
}

// checkSize finds a file that was cut off: what is beyond its end would only be noticed when it is read.
func checkSize(tx *bbolt.Tx) error {
	info, err := os.Stat(tx.DB().Path())
	if err == nil && info.Size() < tx.Size() {
		err = corrupt("it has %d bytes of %d", info.Size(), tx.Size())
	}
	return err
}
