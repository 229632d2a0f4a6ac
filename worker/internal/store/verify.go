package store

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// Verify reads the whole file: every entry is found by its key and has its checksum, and the digests of the tables are those
// of their entries. What is not committed is not looked at. It takes about a microsecond for an entry, and holds up a
// Commit that runs meanwhile.
func (s *Store) Verify() error { return s.VerifyWith(func() error { return nil }) }

// VerifyWith is Verify that calls rest between portions of about a millisecond, and ends with its error.
func (s *Store) VerifyWith(rest func() error) (err error) {
	r, err := s.file.read()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer s.file.done()
	defer guard()(&err)
	meta, err := readMeta(r.tx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var found sums
	seen := 0
	err = scan(r.tx, func(t table, hour int64, key, sealed []byte) error {
		if seen++; seen%verifyStep == 0 {
			if err := rest(); err != nil {
				return err
			}
		}
		if _, err := unseal(t, hour, key, sealed); err != nil { // by its key another one of the same key may be found
			return err
		}
		if content, err := r.get(t, hour, key); err != nil {
			return err
		} else if content == nil {
			return corrupt("an entry of table %s cannot be found by its key", bucketNames[t])
		}
		found.add(t, hour, sealOf(sealed))
		return nil
	})
	if err == nil && !found.equal(&meta.sums) {
		err = corrupt("its digest is not that of its entries")
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// verifyStep is how many entries are read between two rests.
const verifyStep = 1000

// scan visits all entries of the file.
func scan(tx *bbolt.Tx, visit sink) error {
	for t := users; t < tableEnd; t++ {
		b, err := tableOf(tx, t)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if err := scanTable(t, b, visit); err != nil {
			return err
		}
	}
	return nil
}

func scanTable(t table, b *bbolt.Bucket, visit sink) error {
	if !t.hourly() {
		return b.ForEach(func(k, v []byte) error { return visit(t, 0, k, v) })
	}
	return b.ForEachBucket(func(k []byte) error {
		hour, err := decodeHourKey(k)
		if err != nil {
			return err
		}
		return b.Bucket(k).ForEach(func(k, v []byte) error { return visit(t, hour, k, v) })
	})
}
