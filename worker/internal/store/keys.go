package store

import (
	"bytes"
	"encoding/binary"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Keys sort as bytes in the order in which they are wanted: numbers are big-endian, and signed ones have
// their sign flipped.

const (
	hourKeySize     = 8
	positionKeySize = 12
	dueKeySize      = 20
	packKeySize     = 8
	signBit         = 1 << 63
)

// appendUserKey: an account has no NUL, so that no two users share a key.
func appendUserKey[T string | []byte](dst []byte, account, user T) []byte {
	return append(append(append(dst, account...), 0), user...)
}

func splitUserKey(key []byte) (account, user []byte, err error) {
	account, user, ok := bytes.Cut(key, []byte{0})
	if !ok {
		return nil, nil, corrupt("decode key of a user")
	}
	return account, user, nil
}

func hourKey(hour int64) (key [hourKeySize]byte) {
	binary.BigEndian.PutUint64(key[:], uint64(hour)^signBit)
	return key
}

func decodeHourKey(key []byte) (int64, error) {
	if len(key) != hourKeySize {
		return 0, corrupt("decode key of an hour")
	}
	return int64(binary.BigEndian.Uint64(key) ^ signBit), nil
}

// appendPosition is the key of scheduled, dead letters and later outcomes; a pack's key is its first 8 bytes.
func appendPosition(dst []byte, p record.Position) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, p.Seq), p.Index)
}

func decodePosition(key []byte) (record.Position, error) {
	if len(key) != positionKeySize {
		return record.Position{}, corrupt("decode key of a position")
	}
	return record.Position{Seq: binary.BigEndian.Uint64(key), Index: binary.BigEndian.Uint32(key[8:])}, nil
}

func appendDue(dst []byte, d machine.Due) []byte {
	return appendPosition(binary.BigEndian.AppendUint64(dst, uint64(d.At)^signBit), d.Position)
}

func decodeDue(key []byte) (machine.Due, error) {
	if len(key) != dueKeySize {
		return machine.Due{}, corrupt("decode key of a due entry")
	}
	p, err := decodePosition(key[8:])
	return machine.Due{At: int64(binary.BigEndian.Uint64(key) ^ signBit), Position: p}, err
}

// A scheduled entry is the time at which its position is due, and whose it is.
func appendScheduled[T string | []byte](dst []byte, at machine.Millis, user T) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(at)^signBit), user...)
}

func decodeScheduled(b []byte) (at machine.Millis, user []byte, err error) {
	if len(b) < 8 {
		return 0, nil, corrupt("decode scheduled entry")
	}
	return int64(binary.BigEndian.Uint64(b) ^ signBit), b[8:], nil
}

func appendBatchKey(dst []byte, writer string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, writer...), number)
}

func decodeSeq(b []byte) (uint64, error) {
	d := decoder{b: b}
	seq := d.uvarint()
	if !d.end() {
		return 0, corrupt("decode sequence of a batch")
	}
	return seq, nil
}
