package membership

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Version is of what a member says. Members that a later version added are ignored by an earlier one; what Assign reads
// does not change its meaning.
const Version = 1

// Member is a live worker as all others see it.
type Member struct {
	ID      string    `json:"-"` // unique for each start of a process; letters and digits
	Version int       `json:"version"`
	Home    string    `json:"home"` // stands for the data directory; ranks the member, so that it comes back to its files
	Host    string    `json:"host"`
	Started time.Time `json:"started_at"`
	Leaving bool      `json:"leaving,omitempty"` // it wants others to take over
	Serves  []int     `json:"serves,omitempty"`  // partitions for which it answers now
	Follows []int     `json:"follows,omitempty"` // partitions for which it stands by, caught up
	Halted  []int     `json:"halted,omitempty"`  // partitions that it owned and gave up

	Causes map[int]string `json:"causes,omitempty"` // of Halted, for people; bounded: see Say
}

// Serving says whether the member answers for partition p.
func (m Member) Serving(p int) bool { return slices.Contains(m.Serves, p) }

// Bounds of what a member says. Its key is written several times in a TTL, and a value that the broker refuses would make a live member look dead.
const (
	MaxCause  = 1024     // bytes of one cause
	maxCauses = 32 << 10 // bytes of all of them, as they are written
	maxValue  = 64 << 10 // bytes of a key's value: causes, and the numbers of all partitions that there can be
)

// causeElsewhere is said instead of a cause for which there is no room.
const causeElsewhere = "see its log"

// bound cuts the causes: long ones at their end, and of many all but the first.
func (m *Member) bound() {
	m.Causes = maps.Clone(m.Causes)
	left := maxCauses
	for _, p := range slices.Sorted(maps.Keys(m.Causes)) {
		cause := m.Causes[p]
		if len(cause) > MaxCause {
			cause = strings.ToValidUTF8(cause[:MaxCause], "") + "…"
		}
		written, err := json.Marshal(cause)
		if left -= len(written); err != nil || left < 0 {
			cause, left = causeElsewhere, 0
		}
		m.Causes[p] = cause
	}
}

func (m Member) encode() []byte {
	data, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode member: %v", err)) // strings, numbers and a time of this century
	}
	return data
}

func decode(id string, data []byte) (Member, error) {
	m := Member{}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("decode member %s: %w", id, err)
	}
	if m.Home == "" {
		return m, fmt.Errorf("decode member %s: it has no home", id)
	}
	m.ID = id
	return m, nil
}

// clone shares nothing that a caller could change.
func (m Member) clone() Member {
	m.Serves, m.Follows, m.Halted = slices.Clone(m.Serves), slices.Clone(m.Follows), slices.Clone(m.Halted)
	m.Causes = maps.Clone(m.Causes)
	return m
}
