package machine

import (
	"maps"
	"slices"

	"github.com/triggerd/triggerd/shared/record"
)

// Head is the small part of a partition's state that is always in memory. A checkpoint stores it whole.
type Head struct {
	Applied    uint64 // sequence of the last message applied
	StreamTime Millis
	Events     uint64 // number of the last event derived
	Limits     record.Limits
	Configured bool // Limits are from the log
	Writers    map[string]Writer
	Users      uint64    // count
	Pending    uint64    // count of due entries
	Keys       []KeyHour // idempotency keys that take up the budget, by the hour of their memory, ascending
}

// Writer is what is remembered of one appender, to recognise late copies.
type Writer struct {
	Number uint64 // the highest batch number applied
	Seen   Millis // stream time of its last batch, copies included
}

// Clone is a deep copy.
func (h Head) Clone() Head {
	h.Writers = maps.Clone(h.Writers)
	h.Keys = slices.Clone(h.Keys)
	return h
}

// KeyCount is how many idempotency keys take up the budget. Hours are given up whole, so some may be too old to count as known already.
func (h *Head) KeyCount() (keys uint64) {
	for _, k := range h.Keys {
		keys += k.Count
	}
	return keys
}

// keysFull says whether there is no room for another idempotency key at now.
func (h *Head) keysFull(now Millis) bool {
	keys, kept := uint64(0), h.firstKeyHour(now)
	for _, k := range h.Keys {
		if k.Hour >= kept {
			keys += k.Count
		}
	}
	return keys >= uint64(h.Limits.MaxKeys)
}

// firstKeyHour is the first hour that may have keys that are still known at now.
func (h *Head) firstKeyHour(now Millis) int64 { return (now - h.Limits.KeysKeep) / hourMillis }

// remembers says whether k, which was found in the Store, still counts at now: hours are given up whole, but a key is known for
// exactly Limits.KeysKeep.
func (h *Head) remembers(k Key, now Millis) bool { return k.At > now-h.Limits.KeysKeep }
