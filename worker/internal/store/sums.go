package store

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// sums are the digests of the tables: of each the sum of its entries' hashes, modulo 2⁶⁴. Those of the hours are kept
// apart, so that a dropped hour can be subtracted without reading it.
type sums struct {
	tables [tableEnd]uint64
	hours  []hourSum // ascending by table, hour; none is zero
}

type hourSum struct {
	table table
	hour  int64
	sum   uint64
}

func (s *sums) add(t table, hour int64, delta uint64) {
	if !t.hourly() {
		s.tables[t] += delta
		return
	}
	i, found := slices.BinarySearchFunc(s.hours, hourSum{table: t, hour: hour}, compareHours)
	if !found {
		s.hours = slices.Insert(s.hours, i, hourSum{table: t, hour: hour})
	}
	if s.hours[i].sum += delta; s.hours[i].sum == 0 {
		s.hours = slices.Delete(s.hours, i, i+1)
	}
}

func compareHours(a, b hourSum) int {
	return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.hour, b.hour))
}

func (s *sums) dropHours(t table, before int64) {
	s.hours = slices.DeleteFunc(s.hours, func(h hourSum) bool { return h.table == t && h.hour < before })
}

// digestTables are the tables that have a term in the digest whether they are hourly or not. Later ones that are hourly
// don't, so that a state without them has the digest that it always had.
const digestTables = 7

// digest joins the sums with a head.
func (s *sums) digest(head *machine.Head) uint64 {
	total := mix(xxhash.Sum64(appendHead(nil, head)))
	for t, sum := range s.tables[:digestTables] {
		total += mix(sum + uint64(t))
	}
	for _, h := range s.hours {
		total += mix(h.sum ^ mix(uint64(h.table)|uint64(h.hour)<<8))
	}
	return mix(total)
}

func (s *sums) equal(o *sums) bool { return s.tables == o.tables && slices.Equal(s.hours, o.hours) }

func appendSums(dst []byte, s *sums) []byte {
	dst = append(dst, sumsVersion)
	for t := users; t < tableEnd; t++ {
		if !t.hourly() {
			dst = binary.BigEndian.AppendUint64(dst, s.tables[t])
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.hours)))
	for _, h := range s.hours {
		dst = binary.AppendVarint(append(dst, byte(h.table)), h.hour)
		dst = binary.BigEndian.AppendUint64(dst, h.sum)
	}
	return dst
}

func decodeSums(b []byte) (s sums, err error) {
	if len(b) > 0 && b[0] != sumsVersion {
		return s, unknownVersion("digest", b[0], sumsVersion)
	}
	d := &decoder{b: b}
	d.byte()
	for t := users; t < tableEnd; t++ {
		if !t.hourly() {
			s.tables[t] = d.uint64()
		}
	}
	for range d.count(10) {
		h := hourSum{table: table(d.byte()), hour: d.varint(), sum: d.uint64()}
		if n := len(s.hours); !h.table.hourly() || h.sum == 0 || n > 0 && compareHours(s.hours[n-1], h) >= 0 {
			d.fail()
		}
		s.hours = append(s.hours, h)
	}
	if !d.end() {
		return sums{}, corrupt("decode digest")
	}
	return s, nil
}

// Digest is a 64-bit digest of the whole state at this moment, whatever the rhythm of checkpoints was: equal logs give
// equal digests. head is the head of the machine that wrote to the Store. It costs about what a commit of all that is not
// committed costs, and holds up a Commit that runs meanwhile.
func (s *Store) Digest(head machine.Head) (digest uint64, err error) {
	r, err := s.file.read()
	if err != nil {
		return 0, err
	}
	defer s.file.done()
	defer guard()(&err)
	meta, err := readMeta(r.tx)
	if err != nil {
		return 0, err
	}
	total := meta.sums
	for t := range tableEnd {
		if t.hourly() {
			total.dropHours(t, s.droppedOf(t))
		}
	}
	if s.frozen != nil {
		if err := total.addChanges(s.frozen, s.active, s.droppedOf, r); err != nil {
			return 0, err
		}
	}
	if err := total.addChanges(s.active, nil, s.droppedOf, r); err != nil {
		return 0, err
	}
	return total.digest(&head), nil
}

// addChanges replaces entries of the file by those of a generation. If the generation is in the file already, that
// changes nothing.
func (s *sums) addChanges(g, over *generation, dropped func(table) int64, r *reader) error {
	return g.changes(over, &arena{reuse: true}, func(t table, hour int64, key, sealed []byte) error {
		if !t.hourly() || hour >= dropped(t) {
			if err := s.subtract(r, t, hour, key); err != nil {
				return err
			}
		}
		if sealed != nil {
			s.add(t, hour, sealOf(sealed))
		}
		return nil
	})
}

func (s *sums) subtract(r *reader, t table, hour int64, key []byte) error {
	content, err := r.get(t, hour, key)
	if err == nil && content != nil {
		s.add(t, hour, -entryHash(t, hour, key, content))
	}
	return err
}
