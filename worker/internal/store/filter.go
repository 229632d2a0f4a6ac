package store

import (
	"encoding/binary"
	"slices"

	"go.etcd.io/bbolt"
)

// filters say in which hours an idempotency key may be, so that a key that is new, as nearly all are, is not looked for in the
// buckets of a whole day. They are Bloom filters of 16 bits a key that live in memory alone and are made from the file when it is opened. A look
// into one is a miss of the processor's cache, so there is one for some hours together.
type filters struct {
	list  []spanFilter // ascending
	found []int64      // scratch of hours
}

// spanHours is how many hours have one filter.
const spanHours = 6

// spanFilter is the filter of some hours: parts that are filled one after the other, each four times as large as the one before.
type spanFilter struct {
	span  int64 // of hours from span·spanHours on
	parts []filterPart
}

// filterPart is a Bloom filter whose every key lies in one block of eight words, a bit in each of them.
type filterPart struct {
	blocks []filterBlock // a power of two of them
	room   int           // keys that it is still good for
}

type filterBlock [8]uint64

const (
	keysPerBlock = 8 * 64 / 16 // 16 bits for a key. Over all parts of a span about one key in 200 is found that is not there
	firstBlocks  = 1 << 5
)

func newFilterPart(blocks int) filterPart {
	return filterPart{blocks: make([]filterBlock, blocks), room: blocks * keysPerBlock}
}

// place is the block of a key and its bit in each word. The id is a hash already.
func (p *filterPart) place(id keyID) (*filterBlock, uint64) {
	return &p.blocks[binary.LittleEndian.Uint64(id[:])&uint64(len(p.blocks)-1)], binary.LittleEndian.Uint64(id[8:])
}

func (p *filterPart) add(id keyID) {
	block, bits := p.place(id)
	for i := range block {
		block[i] |= 1 << (bits >> (8 * i) & 63)
	}
	p.room--
}

func (p *filterPart) has(id keyID) bool {
	block, bits := p.place(id)
	for i := range block {
		if block[i]&(1<<(bits>>(8*i)&63)) == 0 {
			return false
		}
	}
	return true
}

// add notes that a key is in an hour; mostly it is the last one.
func (f *filters) add(hour int64, id keyID) {
	span := hour / spanHours
	i := len(f.list)
	for i > 0 && f.list[i-1].span > span {
		i--
	}
	if i == 0 || f.list[i-1].span != span {
		f.list = slices.Insert(f.list, i, spanFilter{span: span})
		i++
	}
	s := &f.list[i-1]
	last := len(s.parts) - 1
	if last < 0 || s.parts[last].room == 0 {
		s.parts = append(s.parts, newFilterPart(firstBlocks<<(2*len(s.parts))))
		last++
	}
	s.parts[last].add(id)
}

func (f *filters) drop(before int64) {
	f.list = slices.DeleteFunc(f.list, func(s spanFilter) bool { return (s.span+1)*spanHours <= before })
}

// hours are those not below dropped that may have the key, newest first. Valid until the next call.
func (f *filters) hours(id keyID, dropped int64) []int64 {
	f.found = f.found[:0]
	for i := len(f.list) - 1; i >= 0; i-- {
		s := &f.list[i]
		if !s.has(id) {
			continue
		}
		for hour := (s.span+1)*spanHours - 1; hour >= max(dropped, s.span*spanHours); hour-- {
			f.found = append(f.found, hour)
		}
	}
	return f.found
}

func (s *spanFilter) has(id keyID) bool {
	for i := range s.parts {
		if s.parts[i].has(id) {
			return true
		}
	}
	return false
}

// load fills the filters from the file. It takes about 0.1 µs for a key.
func (f *filters) load(r *reader) error {
	parent, err := r.table(idempotency)
	if err != nil || parent == nil {
		return err
	}
	return parent.ForEachBucket(func(k []byte) error {
		hour, err := decodeHourKey(k)
		if err != nil {
			return err
		}
		return f.loadHour(hour, parent.Bucket(k))
	})
}

func (f *filters) loadHour(hour int64, b *bbolt.Bucket) error {
	return b.ForEach(func(k, _ []byte) error {
		if len(k) != len(keyID{}) {
			return corrupt("decode id of an idempotency key")
		}
		f.add(hour, keyID(k))
		return nil
	})
}
