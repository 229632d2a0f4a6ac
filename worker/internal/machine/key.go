package machine

import (
	"slices"

	"github.com/triggerd/triggerd/shared/record"
)

// Key is what is remembered of the first trigger that came with an idempotency key, whatever became of it.
type Key struct {
	Position record.Position
	Print    string // fingerprint of its request
	At       Millis // stream time at which it was judged
}

// KeyHour counts the keys of one hour of stream time.
type KeyHour struct {
	Hour  int64
	Count uint64
}

// keyState is what a record's key is to the machine, before the record is judged.
type keyState uint8

const (
	keyNone   keyState = iota // it has none
	keyNew                    // it is remembered with this record, whatever becomes of it
	keySame                   // known, with the same request
	keyOther                  // known, with another request
	keyNoRoom                 // new, and the budget is spent
)

// keyOf looks up the key of the record in m.rec. known is the newest trigger that came with it, also when that counts no more.
func (m *Machine) keyOf() (known Key, state keyState, err error) {
	if len(m.rec.Key) == 0 {
		return Key{}, keyNone, nil
	}
	known, ok, err := m.store.Key(m.rec.Account, m.rec.User, m.rec.Key)
	switch counts := ok && m.head.remembers(known, m.head.StreamTime); {
	case err != nil:
		return Key{}, keyNone, halt("read idempotency key", err)
	case counts && known.Print == string(m.rec.Print):
		return known, keySame, nil
	case counts:
		return known, keyOther, nil
	case m.head.keysFull(m.head.StreamTime):
		return known, keyNoRoom, nil
	}
	return known, keyNew, nil
}

// judgeKey ends what a key does not let happen, before the user is looked at.
func judgeKey(in *input, fx *effects) (ended bool) {
	switch in.key {
	case keySame:
		fx.finish(in, Duplicate)
		fx.outcome.DuplicateOf = in.known.Position
	case keyOther:
		fx.reject(in, ReasonKeyMismatch)
	case keyNoRoom:
		fx.reject(in, ReasonKeyBudget)
	default:
		return false
	}
	return true
}

// remember stores the record's key, and counts it, unless it takes the place of one of the same hour.
func (m *Machine) remember() {
	m.store.PutKey(m.hour, m.rec.Account, m.rec.User, m.rec.Key, Key{Position: m.in.pos, Print: string(m.rec.Print), At: m.in.now})
	if m.in.known.Position.Seq != 0 && HourOf(m.in.known.At) == m.hour {
		return
	}
	last := len(m.head.Keys) - 1
	if last < 0 || m.head.Keys[last].Hour != m.hour {
		m.head.Keys = append(m.head.Keys, KeyHour{Hour: m.hour})
		last++
	}
	m.head.Keys[last].Count++
}

// dropKeys forgets the hours of which every key is too old.
func (m *Machine) dropKeys() {
	before := m.head.firstKeyHour(m.head.StreamTime)
	m.store.DropKeys(before)
	m.head.Keys = slices.DeleteFunc(m.head.Keys, func(h KeyHour) bool { return h.Hour < before })
}
