package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// hourly is what a generation adds to the buckets of one hour.
type hourly struct {
	hour    int64
	packs   []pack // by sequence
	later   map[record.Position][]byte
	batches map[batchKey]uint64
}

// pack is the outcomes of one message, sealed.
type pack struct {
	seq    uint64
	sealed []byte
}

type batchKey struct {
	writer string
	number uint64
}

// hour is the place for additions to an hour; mostly it is the last one.
func (g *generation) hour(hour int64) *hourly {
	i := len(g.hours)
	for i > 0 && g.hours[i-1].hour > hour {
		i--
	}
	if i > 0 && g.hours[i-1].hour == hour {
		return &g.hours[i-1]
	}
	g.hours = slices.Insert(g.hours, i, hourly{
		hour: hour, later: make(map[record.Position][]byte), batches: make(map[batchKey]uint64),
	})
	return &g.hours[i]
}

// PutOutcomes implements machine.Store.
func (s *Store) PutOutcomes(hour int64, seq uint64, outs []machine.Outcome) {
	if len(outs) == 0 {
		return
	}
	var key [packKeySize]byte
	binary.BigEndian.PutUint64(key[:], seq)
	sealed := s.active.seal(hour, key[:], outs)
	h := s.active.hour(hour)
	i, found := slices.BinarySearchFunc(h.packs, seq, comparePack)
	if n := len(h.packs); n == 0 || h.packs[n-1].seq < seq {
		i, found = n, false
	}
	if found {
		h.packs[i].sealed = sealed
		return
	}
	h.packs = slices.Insert(h.packs, i, pack{seq, sealed})
}

func comparePack(p pack, seq uint64) int { return cmp.Compare(p.seq, seq) }

// PutOutcome implements machine.Store.
func (s *Store) PutOutcome(hour int64, out machine.Outcome) {
	s.key = appendPosition(s.key[:0], out.Position)
	one := [1]machine.Outcome{out}
	s.active.hour(hour).later[out.Position] = s.active.seal(hour, s.key, one[:])
}

// seal encodes outcomes into the generation's memory.
func (g *generation) seal(hour int64, key []byte, outs []machine.Outcome) []byte {
	buf := g.data.begin()
	start := len(buf)
	buf = appendPack(buf, outs)
	buf = appendSeal(buf, start, outcomes, hour, key)
	g.bytes += int64(len(buf)-start) + outcomeOverhead
	return g.data.end(buf)
}

// Outcome implements machine.Store. The first layer that has one has the newest, because hours rise from
// generation to generation.
func (s *Store) Outcome(p record.Position) (machine.Outcome, bool, error) {
	out, ok, err := s.active.outcome(p, noHour)
	if !ok && err == nil && s.frozen != nil {
		out, ok, err = s.frozen.outcome(p, s.active.dropBefore)
	}
	if !ok && err == nil {
		out, ok, err = s.readOutcome(p)
	}
	if err != nil {
		return machine.Outcome{}, false, fmt.Errorf("read outcome: %w", err)
	}
	return out, ok, nil
}

// outcome looks at the newest hour first, and there at what came later first. Hours below dropped don't count.
func (g *generation) outcome(p record.Position, dropped int64) (machine.Outcome, bool, error) {
	for i := len(g.hours) - 1; i >= 0 && g.hours[i].hour >= dropped; i-- {
		h := &g.hours[i]
		if sealed, ok := h.later[p]; ok {
			return findOutcome(p, contentOf(sealed))
		}
		j, found := slices.BinarySearchFunc(h.packs, p.Seq, comparePack)
		if !found {
			continue
		}
		if out, ok, err := findOutcome(p, contentOf(h.packs[j].sealed)); ok || err != nil {
			return out, ok, err
		}
	}
	return machine.Outcome{}, false, nil
}

func (s *Store) readOutcome(p record.Position) (out machine.Outcome, ok bool, err error) {
	r, err := s.file.read()
	if err != nil {
		return out, false, err
	}
	defer s.file.done()
	defer guard()(&err)
	key := appendPosition(s.key[:0], p)
	s.key = key
	err = r.hoursDown(outcomes, s.dropped(), func(hour int64, b *bbolt.Bucket) (bool, error) {
		for _, k := range [][]byte{key, key[:packKeySize]} {
			sealed := b.Get(k)
			if sealed == nil {
				continue
			}
			content, err := unseal(outcomes, hour, k, sealed)
			if err != nil {
				return true, err
			}
			if out, ok, err = findOutcome(p, content); ok || err != nil {
				return true, err
			}
		}
		return false, nil
	})
	return out, ok, err
}

// dropped is the hour below which nothing of the file counts.
func (s *Store) dropped() int64 {
	if s.frozen == nil {
		return s.active.dropBefore
	}
	return max(s.active.dropBefore, s.frozen.dropBefore)
}

// droppedOf is the hour of a table below which nothing of the file counts.
func (s *Store) droppedOf(t table) int64 {
	if t == idempotency {
		return s.droppedKeys()
	}
	return s.dropped()
}

// hoursDown calls visit with each hour's bucket, newest first, until it says that it is done.
func (r *reader) hoursDown(t table, dropped int64, visit func(hour int64, b *bbolt.Bucket) (done bool, err error)) error {
	parent, err := r.table(t)
	if parent == nil {
		return err
	}
	c := parent.Cursor()
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		hour, err := decodeHourKey(k)
		if err != nil || hour < dropped {
			return err
		}
		b := parent.Bucket(k)
		if b == nil {
			return corrupt("hour %d is no bucket", hour)
		}
		if done, err := visit(hour, b); done || err != nil {
			return err
		}
	}
	return nil
}

// PutBatch implements machine.Store. writer is copied: it may be part of a larger text.
func (s *Store) PutBatch(hour int64, writer string, number uint64, seq uint64) {
	s.active.hour(hour).batches[batchKey{strings.Clone(writer), number}] = seq
	s.active.bytes += int64(len(writer)) + outcomeOverhead
}

// Batch implements machine.Store.
func (s *Store) Batch(writer string, number uint64) (seq uint64, ok bool, err error) {
	key := batchKey{writer, number}
	if seq, ok = s.active.batch(key, noHour); ok {
		return seq, true, nil
	}
	if s.frozen != nil {
		if seq, ok = s.frozen.batch(key, s.active.dropBefore); ok {
			return seq, true, nil
		}
	}
	if seq, ok, err = s.readBatch(writer, number); err != nil {
		return 0, false, fmt.Errorf("read batch: %w", err)
	}
	return seq, ok, nil
}

func (g *generation) batch(key batchKey, dropped int64) (seq uint64, ok bool) {
	for i := len(g.hours) - 1; i >= 0 && g.hours[i].hour >= dropped; i-- {
		if seq, ok = g.hours[i].batches[key]; ok {
			return seq, true
		}
	}
	return 0, false
}

func (s *Store) readBatch(writer string, number uint64) (seq uint64, ok bool, err error) {
	r, err := s.file.read()
	if err != nil {
		return 0, false, err
	}
	defer s.file.done()
	defer guard()(&err)
	s.key = appendBatchKey(s.key[:0], writer, number)
	err = r.hoursDown(batches, s.dropped(), func(hour int64, b *bbolt.Bucket) (bool, error) {
		sealed := b.Get(s.key)
		if sealed == nil {
			return false, nil
		}
		content, err := unseal(batches, hour, s.key, sealed)
		if err != nil {
			return true, err
		}
		seq, err = decodeSeq(content)
		ok = err == nil
		return true, err
	})
	return seq, ok, err
}

// DropHours implements machine.Store.
func (s *Store) DropHours(before int64) {
	g := s.active
	g.dropBefore = max(g.dropBefore, before)
	g.hours = slices.DeleteFunc(g.hours, func(h hourly) bool { return h.hour < before })
}
