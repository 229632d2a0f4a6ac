package store

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// The bucket of what the file says about itself. In front of the keys there is no table: their seals are
// those of table 0.
var (
	metaBucket    = []byte("meta")
	formatKey     = []byte("format") // one byte, not sealed: every version must find it there
	logKey        = []byte("log")
	checkpointKey = []byte("checkpoint")
	sumsKey       = []byte("sums")
	ledgerKey     = []byte("ledger") // may be missing
)

// metadata is the decoded meta bucket.
type metadata struct {
	logID      string
	partition  int
	hasLog     bool
	checkpoint Checkpoint
	has        bool // a checkpoint
	sums       sums
}

// initialise writes a file without a checkpoint.
func initialise(tx *bbolt.Tx, opts Options) error {
	for t := users; t < tableEnd && t.since() == 1; t++ {
		if _, err := tx.CreateBucketIfNotExists(bucketNames[t]); err != nil {
			return err
		}
	}
	b, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	if err := b.Put(formatKey, []byte{1}); err != nil {
		return err
	}
	var log []byte
	if opts.LogID != "" {
		log = appendLog(nil, opts.LogID, opts.Partition)
	}
	if err := putMeta(b, logKey, log); err != nil {
		return err
	}
	if err := putMeta(b, checkpointKey, nil); err != nil {
		return err
	}
	return putMeta(b, sumsKey, appendSums(nil, &sums{}))
}

// writeMeta stores a checkpoint beside the state that it belongs to.
func writeMeta(tx *bbolt.Tx, c *Checkpoint, s *sums) error {
	b := tx.Bucket(metaBucket)
	if err := raiseFormat(tx, formatFor(&c.Head)); err != nil {
		return err
	}
	if err := putMeta(b, logKey, appendLog(nil, c.LogID, c.Partition)); err != nil {
		return err
	}
	if err := putMeta(b, checkpointKey, appendCheckpoint(nil, c)); err != nil {
		return err
	}
	if err := putMeta(b, ledgerKey, appendLedger(nil, c.Seq, &c.Ledger)); err != nil {
		return err
	}
	return putMeta(b, sumsKey, appendSums(nil, s))
}

// formatOf is the version that a file says it is of, 0 if it says nothing.
func formatOf(tx *bbolt.Tx) byte {
	if b := tx.Bucket(metaBucket); b != nil {
		if format := b.Get(formatKey); len(format) == 1 {
			return format[0]
		}
	}
	return 0
}

// raiseFormat makes the file one of at least that version, with all tables that such a file has.
func raiseFormat(tx *bbolt.Tx, format byte) error {
	if formatOf(tx) >= format {
		return nil
	}
	for t := users; t < tableEnd; t++ {
		if t.since() > format {
			continue
		}
		if _, err := tx.CreateBucketIfNotExists(bucketNames[t]); err != nil {
			return err
		}
	}
	return tx.Bucket(metaBucket).Put(formatKey, []byte{format})
}

func putMeta(b *bbolt.Bucket, key, content []byte) error {
	return b.Put(key, appendSeal(content, 0, 0, 0, key))
}

// getMeta reads a key that every file has; what is not known yet is empty. A missing key would be taken for that if it
// were allowed.
func getMeta(b *bbolt.Bucket, key []byte) ([]byte, error) {
	sealed := b.Get(key)
	if sealed == nil {
		return nil, corrupt("it has no %s", key)
	}
	content, err := unseal(0, 0, key, sealed)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return content, nil
}

// readMeta reads the version before anything that may depend on it.
func readMeta(tx *bbolt.Tx) (*metadata, error) {
	b := tx.Bucket(metaBucket)
	if b == nil {
		return nil, corrupt("bucket %s is missing: this is no file of a triggerd worker", metaBucket)
	}
	format := b.Get(formatKey)
	if len(format) != 1 {
		return nil, corrupt("it has no format version")
	}
	if format[0] < 1 || format[0] > formatVersion {
		return nil, unknownVersion("the file", format[0], formatVersion)
	}
	m := &metadata{}
	for _, read := range []func(*bbolt.Bucket) error{m.readLog, m.readCheckpoint, m.readSums} {
		if err := read(b); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metadata) readLog(b *bbolt.Bucket) error {
	content, err := getMeta(b, logKey)
	if err != nil || len(content) == 0 {
		return err
	}
	m.logID, m.partition, err = decodeLog(content)
	m.hasLog = err == nil
	return err
}

func (m *metadata) readCheckpoint(b *bbolt.Bucket) error {
	content, err := getMeta(b, checkpointKey)
	if err != nil || len(content) == 0 {
		return err
	}
	if m.checkpoint, err = decodeCheckpoint(content); err != nil {
		return err
	}
	m.has = true
	m.checkpoint.Ledger, err = readLedger(b, &m.checkpoint)
	return err
}

func (m *metadata) readSums(b *bbolt.Bucket) error {
	content, err := getMeta(b, sumsKey)
	if err != nil {
		return err
	}
	m.sums, err = decodeSums(content)
	return err
}

// digest is that of the checkpoint; 0 without one.
func (m *metadata) digest() uint64 {
	if !m.has {
		return 0
	}
	return m.sums.digest(&m.checkpoint.Head)
}

// checkLog compares whose state it is with whose is wanted.
func (m *metadata) checkLog(opts Options) error {
	if opts.LogID == "" || !m.hasLog || m.logID == opts.LogID && m.partition == opts.Partition {
		return nil
	}
	return fmt.Errorf("%w: it holds partition %d of log %s, wanted is partition %d of log %s",
		ErrForeign, m.partition, m.logID, opts.Partition, opts.LogID)
}
