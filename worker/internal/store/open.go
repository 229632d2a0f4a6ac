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

// formatVersion is the version of the file's format as a whole.
const formatVersion = 1

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

	// Failpoint, if set, is called by Commit at StepInTransaction. An error aborts the transaction, as a crash would. For tests.
	Failpoint func(step string) error
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
		Timeout: o.LockTimeout, MaxSize: int(o.MaxSize), FreelistType: bbolt.FreelistMapType, NoStatistics: true,
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
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path, opts)
	}
	if err != nil {
		return nil, err
	}
	db, err := openBolt(path, opts)
	if err != nil {
		return nil, err
	}
	s := newStore(&file{db: db}, opts)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// create makes a new file under another name and gives it its own once it is whole. So a file that exists always was one: an
// empty one is a damaged one, and not a new one.
func create(path string, opts Options) error {
	unfinished := path + ".new"
	db, err := openBolt(unfinished, opts)
	if errors.Is(err, ErrCorrupt) { // left behind by a crash, and nobody has locked it
		if err := os.Remove(unfinished); err != nil {
			return err
		}
		db, err = openBolt(unfinished, opts)
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

// openBolt opens a bbolt file and takes its lock. A panic or a fault of bbolt is ErrCorrupt; the lock then goes
// with the process, as bbolt does not hand out what it had opened.
func openBolt(path string, opts Options) (db *bbolt.DB, err error) {
	defer guard()(&err)
	options := opts.bolt()
	var opened *os.File
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag, mode)
		opened = f
		return f, err
	}
	finished := false
	defer func() {
		if !finished && opened != nil {
			_ = opened.Close() // gives the lock back
		}
	}()
	db, err = bbolt.Open(path, 0o600, options)
	finished = true
	if err != nil {
		return nil, classify(err)
	}
	return db, nil
}

// load reads what the file says about itself.
func (s *Store) load() (err error) {
	r, err := s.file.readMetaFirst()
	if err != nil {
		return err
	}
	if err := r.checkLog(s.opts); err != nil {
		return err
	}
	s.last, s.has = r.checkpoint, r.has
	return nil
}

// readMetaFirst checks version and size before it looks for anything else.
func (f *file) readMetaFirst() (m *metadata, err error) {
	defer guard()(&err)
	err = f.db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(f.db.Path())
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return corrupt("it has %d bytes of %d", info.Size(), tx.Size())
		}
		m, err = readMeta(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := f.read(); err != nil { // all buckets are there
		return nil, err
	}
	f.done()
	return m, nil
}
