package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Headers of a message of the log. Names are case-sensitive, each stands once.
const (
	HeaderVersion = "Triggerd-Version" // format of headers and lines
	HeaderCount   = "Triggerd-Count"   // records in the payload
	HeaderWriter  = "Triggerd-Writer"  // who appended it
	HeaderBatch   = "Triggerd-Batch"   // batch number, 0 = not numbered
	HeaderTime    = "Triggerd-Time"    // the writer's clock, Unix milliseconds
	HeaderMsgID   = "Nats-Msg-Id"      // writer-number: the server's duplicate window goes by it
)

var (
	// ErrVersion: the batch was written by a newer triggerd; the reader must halt, not skip.
	ErrVersion = errors.New("unknown record format version")
	// ErrMalformed: the batch cannot be read at all; it is one dead letter as a whole.
	ErrMalformed = errors.New("malformed batch")
)

// Batch is one message of the log: 1..N records, packed by one writer.
type Batch struct {
	Version int    // format of headers and lines: the lowest that can say what is in it; 0 is written as 1
	Writer  string // who appended it, unique for a process's life; 1..64 visible ASCII characters, letters and digits only if numbered
	Number  uint64 // rises by at least one per batch of this writer and partition; 0 = not numbered, never taken for a copy
	Time    int64  // the writer's clock, Unix milliseconds
	Count   int    // records in Payload
	Payload []byte // records, each line ended by a line feed except the last
}

// Header renders the batch's NATS headers, Nats-Msg-Id included (numbered batches only). The map is new.
func (b *Batch) Header() map[string][]string {
	number := strconv.FormatUint(b.Number, 10)
	header := map[string][]string{
		HeaderVersion: {strconv.Itoa(max(b.Version, 1))},
		HeaderCount:   {strconv.Itoa(b.Count)},
		HeaderWriter:  {b.Writer},
		HeaderBatch:   {number},
		HeaderTime:    {strconv.FormatInt(b.Time, 10)},
	}
	if b.Number != 0 {
		header[HeaderMsgID] = []string{b.Writer + "-" + number}
	}
	return header
}

// ParseBatch reads a message of the log. The batch aliases payload. The version is looked at first.
// Its errors wrap ErrVersion or ErrMalformed (a count that differs from the number of lines is malformed).
// It does not look into the lines.
func ParseBatch(header map[string][]string, payload []byte) (Batch, error) {
	version, err := parseVersion(header)
	if err != nil {
		return Batch{}, err
	}
	fields := fieldReader{header: header}
	b := Batch{
		Version: version,
		Count:   int(fields.number(HeaderCount, math.MaxInt32)),
		Writer:  fields.text(HeaderWriter),
		Number:  fields.number(HeaderBatch, math.MaxUint64),
		Time:    int64(fields.number(HeaderTime, math.MaxInt64)),
		Payload: payload,
	}
	if fields.err != nil {
		return Batch{}, fields.err
	}
	if !validWriter(b.Writer, b.Number != 0) {
		return Batch{}, fmt.Errorf("%w: header %s is no writer's name", ErrMalformed, HeaderWriter)
	}
	if lines := countLines(payload); lines != b.Count {
		return Batch{}, fmt.Errorf("%w: %d lines, header says %d", ErrMalformed, lines, b.Count)
	}
	if b.Count == 0 {
		return Batch{}, fmt.Errorf("%w: no records", ErrMalformed)
	}
	return b, nil
}

// Lines calls line for every record of the batch in order, index counting from 0; rec aliases the payload. An
// error of line ends the walk and is returned as it is.
func (b *Batch) Lines(line func(index int, rec []byte) error) error {
	rest, more := b.Payload, true
	for index := 0; more; index++ {
		var rec []byte
		rec, rest, more = bytes.Cut(rest, []byte{'\n'})
		if err := line(index, rec); err != nil {
			return err
		}
	}
	return nil
}

func parseVersion(header map[string][]string) (int, error) {
	fields := fieldReader{header: header}
	version := fields.number(HeaderVersion, math.MaxInt32)
	switch {
	case fields.err != nil:
		return 0, fields.err
	case version == 0:
		return 0, fmt.Errorf("%w: version 0 was never written", ErrMalformed)
	case version > Version:
		return 0, fmt.Errorf("%w %d: this triggerd reads versions up to %d: run a newer triggerd", ErrVersion, version, Version)
	}
	return int(version), nil
}

// countLines counts as Lines walks: what follows the last line feed is a line, even if empty.
func countLines(payload []byte) int {
	if len(payload) == 0 {
		return 0
	}
	return bytes.Count(payload, []byte{'\n'}) + 1
}

// fieldReader reads headers and keeps the first error.
type fieldReader struct {
	header map[string][]string
	err    error
}

func (f *fieldReader) text(name string) string {
	values := f.header[name]
	if len(values) != 1 {
		f.refuse(name, "stands "+strconv.Itoa(len(values))+" times, want once")
		return ""
	}
	return values[0]
}

func (f *fieldReader) number(name string, limit uint64) uint64 {
	text := f.text(name)
	n, ok := parseNumber(text, limit)
	if !ok {
		f.refuse(name, "is no decimal number in bounds")
	}
	return n
}

func (f *fieldReader) refuse(name, why string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: header %s %s", ErrMalformed, name, why)
	}
}

// validWriter: a numbered batch's writer becomes part of receipts, where only letters and digits can stand.
func validWriter(writer string, numbered bool) bool {
	if len(writer) == 0 || len(writer) > MaxWriter {
		return false
	}
	for i := range len(writer) {
		c := writer[i]
		if isAlphanumeric(c) {
			continue
		}
		if numbered || c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
