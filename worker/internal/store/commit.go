package store

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// StepInTransaction is the step at which Options.Failpoint is called: all is written, nothing is committed.
const StepInTransaction = "checkpoint-in-transaction"

// Commit writes the frozen generation in one transaction; runs in the background, beside reads and writes of
// the partition's goroutine. On an error the generation stays frozen and Commit may be tried again. Once it has succeeded, another
// call before Release does nothing.
func (s *Store) Commit() (err error) {
	g := s.frozen
	if g == nil {
		return fmt.Errorf("commit: no generation is frozen")
	}
	if g.committed.Load() {
		return nil
	}
	s.file.writing.Lock() // before readers have to take transactions of their own
	defer s.file.writing.Unlock()
	s.file.setCommitting(true)
	defer s.file.setCommitting(false)
	if err := s.file.commit(g, s.opts.Breathe, s.opts.Failpoint); err != nil {
		return fmt.Errorf("commit checkpoint %d: %w", g.checkpoint.Seq, classify(err))
	}
	g.committed.Store(true)
	return nil
}

func (f *file) commit(g *generation, breathe func(), failpoint func(string) error) (err error) {
	defer guard()(&err)
	if !f.broken.CompareAndSwap(false, true) {
		return corrupt("an earlier commit met damage")
	}
	err = f.db.Update(func(tx *bbolt.Tx) error {
		w := &writer{tx: tx, breathe: breathe}
		if err := w.write(g); err != nil {
			return err
		}
		if failpoint != nil {
			return failpoint(StepInTransaction)
		}
		return nil
	})
	f.broken.Store(false) // not reached by a panic
	return err
}

// writer writes a generation into a transaction.
type writer struct {
	tx      *bbolt.Tx
	breathe func() // nil: nothing is to be done between two entries
	sums    sums
	table   table
	hour    int64
	bucket  *bbolt.Bucket // of table and hour; nil: not looked up
}

func (w *writer) write(g *generation) error {
	meta, err := readMeta(w.tx)
	if err != nil {
		return err
	}
	w.sums = meta.sums
	if err := w.dropHours(g.dropBefore, outcomes, batches); err != nil {
		return err
	}
	if err := w.dropHours(g.dropKeys, idempotency); err != nil {
		return err
	}
	if err := g.changes(nil, &arena{}, w.put); err != nil {
		return err
	}
	g.digest = w.sums.digest(&g.checkpoint.Head)
	return writeMeta(w.tx, &g.checkpoint, &w.sums)
}

// dropHours gives back whole buckets, without looking at their entries.
func (w *writer) dropHours(before int64, tables ...table) error {
	for _, t := range tables {
		parent, err := tableOf(w.tx, t)
		if err != nil {
			return err
		}
		if parent == nil {
			continue
		}
		for k, _ := parent.Cursor().First(); k != nil; k, _ = parent.Cursor().First() {
			hour, err := decodeHourKey(k)
			if err != nil {
				return err
			}
			if hour >= before {
				break
			}
			if err := parent.DeleteBucket(k); err != nil {
				return fmt.Errorf("drop hour %d: %w", hour, err)
			}
		}
		w.sums.dropHours(t, before)
	}
	return nil
}

// put is the sink of the changes: it keeps the sums while it writes.
func (w *writer) put(t table, hour int64, key, sealed []byte) error {
	if w.breathe != nil {
		w.breathe()
	}
	if err := w.seek(t, hour); err != nil {
		return err
	}
	old := w.bucket.Get(key)
	switch {
	case old == nil && sealed == nil, old != nil && bytes.Equal(old, sealed):
		return nil
	case old != nil && len(old) < sealSize:
		return corrupt("entry of table %s has no checksum", bucketNames[t])
	case old != nil:
		w.sums.add(t, hour, -sealOf(old))
	}
	if sealed == nil {
		return w.bucket.Delete(key)
	}
	w.sums.add(t, hour, sealOf(sealed))
	return w.bucket.Put(key, sealed)
}

// seek makes bucket that of the table and hour. Changes come table by table.
func (w *writer) seek(t table, hour int64) error {
	if w.bucket != nil && w.table == t && w.hour == hour {
		return nil
	}
	b, err := tableOf(w.tx, t)
	if err != nil {
		return err
	}
	if b == nil { // the file is of an earlier version, until it gets this checkpoint
		if b, err = w.tx.CreateBucket(bucketNames[t]); err != nil {
			return err
		}
	}
	if t.hourly() {
		key := hourKey(hour)
		if b, err = b.CreateBucketIfNotExists(key[:]); err != nil {
			return err
		}
	}
	b.FillPercent = fillPercent[t]
	w.table, w.hour, w.bucket = t, hour, b
	return nil
}
