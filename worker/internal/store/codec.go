package store

import (
	"encoding/binary"
	"math"
)

// decoder reads a value from its beginning. A fault makes it bad for good; all later reads give zeros,
// so that it is enough to ask at the end.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

// end says whether everything was read, and could be.
func (d *decoder) end() bool { return !d.bad && len(d.b) == 0 }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// uvarint accepts the shortest spelling alone: one state has one encoding.
func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		c := d.b[0]
		d.b = d.b[1:]
		return uint64(c)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || d.b[n-1] == 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.fail()
	}
	return uint32(v)
}

// integer is an int that was written with AppendVarint.
func (d *decoder) integer() int {
	v := d.varint()
	if int64(int(v)) != v {
		d.fail()
	}
	return int(v)
}

func (d *decoder) uint64() uint64 {
	b := d.take(8)
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// count is a number of things of at least size bytes each; it can't be higher than what is there.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// take is the next n bytes, aliasing the input.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// text is a string with its length before it.
func (d *decoder) text() string { return string(d.take(d.uvarint())) }

func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// cursor hands out parts of a string or slice from its beginning.
type cursor[T string | []byte] struct {
	rest T
	bad  bool
}

func (c *cursor[T]) next(n uint64) (part T) {
	if n > uint64(len(c.rest)) {
		c.bad = true
		return part
	}
	part, c.rest = c.rest[:n], c.rest[n:]
	return part
}
