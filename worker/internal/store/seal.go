package store

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// sealSize is what every value has behind its content: the hash of the entry, which is its
// checksum and its share of the digest.
const sealSize = 8

// noHour is before every hour.
const noHour = math.MinInt64

// entryHash mixes an entry into 64 bits. Sums of it are digests: it must never change.
func entryHash(t table, hour int64, key, content []byte) uint64 {
	tag := uint64(t)
	if t.hourly() {
		tag |= uint64(hour) << 8
	}
	h := xxhash.Sum64(key)*0x9e3779b97f4a7c15 + bits.RotateLeft64(xxhash.Sum64(content), 29) + tag*0xd6e8feb86659fd93
	return mix(h)
}

// mix is a bijection in which every bit of h reaches every bit of the result.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// appendSeal appends the hash of the entry whose content is dst[start:].
func appendSeal(dst []byte, start int, t table, hour int64, key []byte) []byte {
	return binary.BigEndian.AppendUint64(dst, entryHash(t, hour, key, dst[start:]))
}

// unseal takes the checksum off and compares it.
func unseal(t table, hour int64, key, sealed []byte) ([]byte, error) {
	content := contentOf(sealed)
	if content == nil || entryHash(t, hour, key, content) != sealOf(sealed) {
		return nil, corrupt("checksum of an entry of table %s does not fit", bucketNames[t])
	}
	return content, nil
}

// contentOf is a sealed value without its checksum, never nil unless there is no room for one.
func contentOf(sealed []byte) []byte {
	if len(sealed) < sealSize {
		return nil
	}
	return sealed[: len(sealed)-sealSize : len(sealed)-sealSize]
}

// sealOf is the checksum of a value that is long enough.
func sealOf(sealed []byte) uint64 { return binary.BigEndian.Uint64(sealed[len(sealed)-sealSize:]) }

// arena holds many small byte slices in few allocations. What was taken from it stays valid as long as somebody refers to it.
type arena struct {
	buf   []byte
	reuse bool // the last slice taken is given up with the next
}

const (
	arenaChunk = 256 << 10
	arenaLow   = 4 << 10 // a chunk with less room is not begun on
)

// begin is where to append; end takes what was appended.
func (a *arena) begin() []byte {
	switch {
	case a.reuse:
		a.buf = a.buf[:0]
	case cap(a.buf)-len(a.buf) < arenaLow:
		a.buf = make([]byte, 0, arenaChunk)
	}
	return a.buf
}

func (a *arena) end(buf []byte) []byte {
	start := len(a.buf)
	if a.buf = buf; cap(buf) > 2*arenaChunk && !a.reuse {
		a.buf = nil // a huge value has grown a chunk of its own
	}
	return buf[start:len(buf):len(buf)]
}
