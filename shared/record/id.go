package record

import (
	"cmp"
	"errors"
	"math"
	"strconv"
	"strings"
)

// Errors of parsing names. They do not quote what was sent.
var (
	ErrID      = errors.New("malformed id: want partition-sequence-index, as in 7-10482-3")
	ErrReceipt = errors.New("malformed receipt: want r-partition-writer-number-index")
)

// Position is the place of a record in its partition's log.
type Position struct {
	Seq   uint64 // stream sequence of the message, from 1
	Index uint32 // index of the record in the batch, from 0
}

// Compare orders positions as the log does: -1 if p is before q, 0 if they are equal, 1 if it is after.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Seq, q.Seq), cmp.Compare(p.Index, q.Index))
}

// ID names a record for ever: `p-seq-index`, as in 7-10482-3.
type ID struct {
	Partition int
	Position
}

func (id ID) String() string {
	return string(id.AppendTo(make([]byte, 0, 32)))
}

// AppendTo appends what String returns.
func (id ID) AppendTo(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(id.Partition), 10)
	dst = strconv.AppendUint(append(dst, '-'), id.Seq, 10)
	return strconv.AppendUint(append(dst, '-'), uint64(id.Index), 10)
}

// ParseID reads exactly what String writes: decimal numbers without signs or leading zeros, the
// partition below 2³¹, the sequence from 1. Its error is ErrID. Whether such a partition and
// record exist is not asked.
func ParseID(s string) (ID, error) {
	parts, ok := split(s)
	if !ok {
		return ID{}, ErrID
	}
	partition, ok1 := parseNumber(parts[0], math.MaxInt32)
	seq, ok2 := parseNumber(parts[1], math.MaxUint64)
	index, ok3 := parseNumber(parts[2], math.MaxUint32)
	if !ok1 || !ok2 || !ok3 || seq == 0 {
		return ID{}, ErrID
	}
	return ID{int(partition), Position{seq, uint32(index)}}, nil
}

// Receipt names a record whose fate was unknown when the caller had to be answered: `r-partition-writer-number-index`.
type Receipt struct {
	Partition int
	Writer    string // letters and digits only
	Number    uint64
	Index     uint32
}

func (r Receipt) String() string {
	dst := append(make([]byte, 0, 64), 'r', '-')
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(append(dst, '-'), r.Writer...)
	dst = strconv.AppendUint(append(dst, '-'), r.Number, 10)
	return string(strconv.AppendUint(append(dst, '-'), uint64(r.Index), 10))
}

// ParseReceipt reads exactly what String writes, under the rules of ParseID; the number counts from 1.
// Its error is ErrReceipt. The receipt's Writer aliases s.
func ParseReceipt(s string) (Receipt, error) {
	rest, ok0 := strings.CutPrefix(s, "r-")
	first, rest, _ := strings.Cut(rest, "-")
	parts, ok := split(rest)
	if !ok0 || !ok || !validWriter(parts[0], true) {
		return Receipt{}, ErrReceipt
	}
	partition, ok1 := parseNumber(first, math.MaxInt32)
	number, ok2 := parseNumber(parts[1], math.MaxUint64)
	index, ok3 := parseNumber(parts[2], math.MaxUint32)
	if !ok1 || !ok2 || !ok3 || number == 0 {
		return Receipt{}, ErrReceipt
	}
	return Receipt{int(partition), parts[0], number, uint32(index)}, nil
}

// split cuts s at its first two hyphens; a third one stays in the last part, where it is no digit.
func split(s string) (parts [3]string, ok bool) {
	var rest string
	if parts[0], rest, ok = strings.Cut(s, "-"); ok {
		parts[1], parts[2], ok = strings.Cut(rest, "-")
	}
	return parts, ok
}

// parseNumber reads a decimal number up to limit, in its only spelling: digits without a leading zero.
func parseNumber(s string, limit uint64) (uint64, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= limit
}
