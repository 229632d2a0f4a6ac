// Package machinetest is what tests of the machine and of its stores share: a Store in plain memory
// that is simple enough to be the model of others, and a generator of random logs.
package machinetest

import (
	"maps"
	"slices"
	"strings"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Memory is a machine.Store of maps and sorted slices. For one goroutine.
type Memory struct {
	users map[userKey]*machine.User
	due   []dueEntry // sorted
	hours map[int64]*bucket
	keys  map[int64]map[Key]machine.Key
	dead  []machine.DeadLetter // in the order of the log
}

// Key is an idempotency key and whose it is.
type Key struct{ Account, User, Key string }

var _ machine.Store = (*Memory)(nil)

type userKey struct{ account, user string }

type dueEntry struct {
	machine.Due
	userKey
}

// bucket is what is kept of one hour.
type bucket struct {
	outcomes map[uint64][]machine.Outcome        // by sequence
	later    map[record.Position]machine.Outcome // they shadow those
	batches  map[batchKey]uint64
}

type batchKey struct {
	writer string
	number uint64
}

// NewMemory is an empty store.
func NewMemory() *Memory {
	return &Memory{users: make(map[userKey]*machine.User), hours: make(map[int64]*bucket), keys: make(map[int64]map[Key]machine.Key)}
}

// Clone is a copy that shares nothing that changes.
func (m *Memory) Clone() *Memory {
	c := &Memory{users: maps.Clone(m.users), due: slices.Clone(m.due), dead: slices.Clone(m.dead), hours: make(map[int64]*bucket),
		keys: make(map[int64]map[Key]machine.Key)}
	for hour, b := range m.hours {
		c.hours[hour] = &bucket{maps.Clone(b.outcomes), maps.Clone(b.later), maps.Clone(b.batches)}
	}
	for hour, keys := range m.keys {
		c.keys[hour] = maps.Clone(keys)
	}
	return c
}

func (m *Memory) User(account, user []byte) (*machine.User, error) {
	return m.users[userKey{string(account), string(user)}], nil
}

func (m *Memory) PutUser(account, user []byte, u *machine.User) {
	key := userKey{string(account), string(user)}
	if u == nil {
		delete(m.users, key)
		return
	}
	m.users[key] = u
}

func (m *Memory) NextDue() (machine.Due, []byte, []byte, bool, error) {
	if len(m.due) == 0 {
		return machine.Due{}, nil, nil, false, nil
	}
	d := m.due[0]
	return d.Due, []byte(d.account), []byte(d.user), true, nil
}

func (m *Memory) PutDue(d machine.Due, account, user []byte) {
	i, _ := m.findDue(d)
	m.due = slices.Insert(m.due, i, dueEntry{d, userKey{string(account), string(user)}})
}

func (m *Memory) DeleteDue(d machine.Due) {
	i, found := m.findDue(d)
	switch {
	case found && i == 0:
		m.due = m.due[1:]
	case found:
		m.due = slices.Delete(m.due, i, i+1)
	}
}

func (m *Memory) findDue(d machine.Due) (int, bool) {
	return slices.BinarySearchFunc(m.due, d, func(e dueEntry, d machine.Due) int { return e.Due.Compare(d) })
}

func (m *Memory) DueOf(p record.Position) (machine.Due, []byte, []byte, bool, error) {
	for _, d := range m.due {
		if d.Position == p {
			return d.Due, []byte(d.account), []byte(d.user), true, nil
		}
	}
	return machine.Due{}, nil, nil, false, nil
}

func (m *Memory) bucket(hour int64) *bucket {
	b := m.hours[hour]
	if b == nil {
		b = &bucket{make(map[uint64][]machine.Outcome), make(map[record.Position]machine.Outcome), make(map[batchKey]uint64)}
		m.hours[hour] = b
	}
	return b
}

func (m *Memory) PutOutcomes(hour int64, seq uint64, outs []machine.Outcome) {
	m.bucket(hour).outcomes[seq] = slices.Clone(outs)
}

func (m *Memory) PutOutcome(hour int64, out machine.Outcome) {
	m.bucket(hour).later[out.Position] = out
}

// Outcome looks at the newest hour first, and there at what came later first.
func (m *Memory) Outcome(p record.Position) (machine.Outcome, bool, error) {
	for _, hour := range m.hoursDown() {
		b := m.hours[hour]
		if out, ok := b.later[p]; ok {
			return out, true, nil
		}
		for _, out := range b.outcomes[p.Seq] {
			if out.Position == p {
				return out, true, nil
			}
		}
	}
	return machine.Outcome{}, false, nil
}

func (m *Memory) hoursDown() []int64 {
	hours := slices.Sorted(maps.Keys(m.hours))
	slices.Reverse(hours)
	return hours
}

func (m *Memory) PutBatch(hour int64, writer string, number uint64, seq uint64) {
	m.bucket(hour).batches[batchKey{strings.Clone(writer), number}] = seq
}

func (m *Memory) Batch(writer string, number uint64) (uint64, bool, error) {
	for _, hour := range m.hoursDown() {
		if seq, ok := m.hours[hour].batches[batchKey{writer, number}]; ok {
			return seq, true, nil
		}
	}
	return 0, false, nil
}

func (m *Memory) DropHours(before int64) {
	maps.DeleteFunc(m.hours, func(hour int64, _ *bucket) bool { return hour < before })
}

func (m *Memory) PutKey(hour int64, account, user, key []byte, k machine.Key) {
	if m.keys[hour] == nil {
		m.keys[hour] = make(map[Key]machine.Key)
	}
	m.keys[hour][Key{string(account), string(user), string(key)}] = k
}

func (m *Memory) Key(account, user, key []byte) (newest machine.Key, ok bool, err error) {
	for _, hour := range slices.Sorted(maps.Keys(m.keys)) {
		if k, found := m.keys[hour][Key{string(account), string(user), string(key)}]; found {
			newest, ok = k, true
		}
	}
	return newest, ok, nil
}

func (m *Memory) DropKeys(before int64) {
	maps.DeleteFunc(m.keys, func(hour int64, _ map[Key]machine.Key) bool { return hour < before })
}

func (m *Memory) PutDeadLetter(d machine.DeadLetter) { m.dead = append(m.dead, d) }

func (m *Memory) DeadLetters(limit int) ([]machine.DeadLetter, error) {
	newest := slices.Clone(m.dead[max(0, len(m.dead)-limit):])
	slices.Reverse(newest)
	return newest, nil
}
