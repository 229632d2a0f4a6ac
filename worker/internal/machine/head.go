package machine

import (
	"maps"

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
	Users      uint64 // count
	Pending    uint64 // count of due entries
}

// Writer is what is remembered of one appender, to recognise late copies.
type Writer struct {
	Number uint64 // the highest batch number applied
	Seen   Millis // stream time of its last batch, copies included
}

// Clone is a deep copy.
func (h Head) Clone() Head {
	h.Writers = maps.Clone(h.Writers)
	return h
}
