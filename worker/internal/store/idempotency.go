package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// keyID stands for an idempotency key and whose it is: 128 bits of SHA-256, so that nobody can choose keys that meet somebody else's.
type keyID [16]byte

// keyID makes the id of a key. An account and a user have no NUL.
func (s *Store) keyID(account, user, key []byte) keyID {
	s.key = append(append(appendUserKey(s.key[:0], account, user), 0), key...)
	sum := sha256.Sum256(s.key)
	return keyID(sum[:len(keyID{})])
}

// keyHour is what a generation adds to the idempotency keys of one hour.
type keyHour struct {
	hour int64
	keys map[keyID]machine.Key
}

// keyHour is the place for additions to an hour; mostly it is the last one.
func (g *generation) keyHour(hour int64) *keyHour {
	i, found := slices.BinarySearchFunc(g.keyHours, hour, func(h keyHour, hour int64) int { return cmp.Compare(h.hour, hour) })
	if !found {
		g.keyHours = slices.Insert(g.keyHours, i, keyHour{hour: hour, keys: make(map[keyID]machine.Key)})
	}
	return &g.keyHours[i]
}

// PutKey implements machine.Store.
func (s *Store) PutKey(hour int64, account, user, key []byte, k machine.Key) {
	id := s.keyID(account, user, key)
	s.active.keyHour(hour).keys[id] = k
	s.active.bytes += keyOverhead + int64(len(k.Print))
	s.filters.add(hour, id)
}

// Key implements machine.Store. The first layer that has one has the newest, because hours rise from generation to generation.
func (s *Store) Key(account, user, key []byte) (k machine.Key, ok bool, err error) {
	id := s.keyID(account, user, key)
	if k, ok = s.active.keyOf(id, noHour); ok {
		return k, true, nil
	}
	if s.frozen != nil {
		if k, ok = s.frozen.keyOf(id, s.active.dropKeys); ok {
			return k, true, nil
		}
	}
	for _, hour := range s.filters.hours(id, s.droppedKeys()) {
		if k, ok, err = s.readKey(hour, id); ok || err != nil {
			return k, ok, err
		}
	}
	return machine.Key{}, false, nil
}

func (g *generation) keyOf(id keyID, dropped int64) (k machine.Key, ok bool) {
	for i := len(g.keyHours) - 1; i >= 0 && g.keyHours[i].hour >= dropped; i-- {
		if k, ok = g.keyHours[i].keys[id]; ok {
			return k, true
		}
	}
	return machine.Key{}, false
}

func (s *Store) readKey(hour int64, id keyID) (k machine.Key, ok bool, err error) {
	r, err := s.file.read()
	if err != nil {
		return k, false, fmt.Errorf("read idempotency key: %w", err)
	}
	defer s.file.done()
	defer guard()(&err)
	content, err := r.get(idempotency, hour, id[:])
	if err != nil || content == nil {
		return k, false, err
	}
	k, err = decodeKey(hour, content)
	return k, err == nil, err
}

// DropKeys implements machine.Store.
func (s *Store) DropKeys(before int64) {
	g := s.active
	g.dropKeys = max(g.dropKeys, before)
	g.keyHours = slices.DeleteFunc(g.keyHours, func(h keyHour) bool { return h.hour < before })
	s.filters.drop(before)
}

// droppedKeys is the hour below which no key of the file counts.
func (s *Store) droppedKeys() int64 {
	if s.frozen == nil {
		return s.active.dropKeys
	}
	return max(s.active.dropKeys, s.frozen.dropKeys)
}

// keys tells the idempotency keys of a generation.
func (c *changer) keys() error {
	for i := range c.g.keyHours {
		h := &c.g.keyHours[i]
		if c.over != nil && h.hour < c.over.dropKeys {
			continue
		}
		order := slices.SortedFunc(maps.Keys(h.keys), func(a, b keyID) int { return bytes.Compare(a[:], b[:]) })
		for _, id := range order {
			if c.over.hasKey(h.hour, id) {
				continue
			}
			k := h.keys[id]
			buf := c.mem.begin()
			start := len(buf)
			buf = appendSeal(appendKey(buf, h.hour, &k), start, idempotency, h.hour, id[:])
			if err := c.emit(idempotency, h.hour, id[:], c.mem.end(buf)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasKey says whether a generation has an entry of its own in that place.
func (g *generation) hasKey(hour int64, id keyID) bool {
	if g == nil {
		return false
	}
	for i := range g.keyHours {
		if g.keyHours[i].hour == hour {
			_, ok := g.keyHours[i].keys[id]
			return ok
		}
	}
	return false
}

// appendKey encodes what is remembered of a key, in the bucket of its hour.
func appendKey(dst []byte, hour int64, k *machine.Key) []byte {
	dst = binary.AppendUvarint(dst, k.Position.Seq)
	dst = binary.AppendUvarint(dst, uint64(k.Position.Index))
	dst = binary.AppendVarint(dst, k.At-machine.HourStart(hour))
	return append(dst, k.Print...)
}

func decodeKey(hour int64, b []byte) (k machine.Key, err error) {
	d := decoder{b: b}
	k.Position.Seq, k.Position.Index, k.At = d.uvarint(), d.uint32(), machine.HourStart(hour)+d.varint()
	if d.bad || len(d.b) == 0 || machine.HourOf(k.At) != hour {
		return machine.Key{}, corrupt("decode idempotency key")
	}
	k.Print = string(d.b)
	return k, nil
}
