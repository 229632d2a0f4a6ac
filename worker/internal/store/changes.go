package store

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/triggerd/triggerd/shared/record"
)

// sink takes one change of an entry; sealed nil deletes it. key is valid during the call only.
type sink func(t table, hour int64, key, sealed []byte) error

// changes tells all that a generation changes, table by table and sorted by key, except the hours that it drops. What
// over, the generation above, changes as well or drops is left out. Values are encoded into mem.
func (g *generation) changes(over *generation, mem *arena, emit sink) error {
	c := &changer{g: g, over: over, mem: mem, emit: emit}
	for _, step := range []func() error{c.users, c.due, c.scheduled, c.hours, c.dead, c.keys} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

type changer struct {
	g, over *generation
	mem     *arena
	emit    sink
	key     []byte
}

func (c *changer) users() error {
	list := c.g.users
	order := make([]int32, len(list))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int { return strings.Compare(list[i].key, list[j].key) })
	for _, i := range order {
		e := &list[i]
		if c.over != nil {
			if _, shadowed := c.over.index[e.key]; shadowed {
				continue
			}
		}
		if err := c.user(e); err != nil {
			return err
		}
	}
	return nil
}

func (c *changer) user(e *userEntry) error {
	c.key = append(c.key[:0], e.key...)
	if e.user == nil {
		return c.emit(users, 0, c.key, nil)
	}
	buf := c.mem.begin()
	start := len(buf)
	buf = appendUser(buf, e.user)
	buf = appendSeal(buf, start, users, 0, c.key)
	return c.emit(users, 0, c.key, c.mem.end(buf))
}

// due tells the due index. A deletion may be of an entry that never was in the file.
func (c *changer) due() error {
	order := c.positions(func(p, q record.Position) int {
		return cmp.Or(cmp.Compare(c.g.due[p].at, c.g.due[q].at), p.Compare(q))
	})
	for _, p := range order {
		op := c.g.due[p]
		c.key = appendPosition(binary.BigEndian.AppendUint64(c.key[:0], uint64(op.at)^signBit), p)
		if err := c.sealAndEmit(due, op.deleted, func(buf []byte) []byte { return append(buf, op.key...) }); err != nil {
			return err
		}
	}
	return nil
}

// scheduled tells the same by position.
func (c *changer) scheduled() error {
	for _, p := range c.positions(record.Position.Compare) {
		op := c.g.due[p]
		c.key = appendPosition(c.key[:0], p)
		if err := c.sealAndEmit(scheduled, op.deleted, func(buf []byte) []byte { return appendScheduled(buf, op.at, op.key) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *changer) positions(order func(p, q record.Position) int) []record.Position {
	list := make([]record.Position, 0, len(c.g.due))
	for p := range c.g.due {
		if !c.over.shadowsDue(p) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, order)
	return list
}

func (c *changer) sealAndEmit(t table, deleted bool, content func(buf []byte) []byte) error {
	if deleted {
		return c.emit(t, 0, c.key, nil)
	}
	buf := c.mem.begin()
	start := len(buf)
	buf = appendSeal(content(buf), start, t, 0, c.key)
	return c.emit(t, 0, c.key, c.mem.end(buf))
}

func (c *changer) hours() error {
	for i := range c.g.hours {
		h := &c.g.hours[i]
		if c.over != nil && h.hour < c.over.dropBefore {
			continue
		}
		if err := c.outcomes(h); err != nil {
			return err
		}
		if err := c.batches(h); err != nil {
			return err
		}
	}
	return nil
}

func (c *changer) outcomes(h *hourly) error {
	for i := range h.packs {
		c.key = binary.BigEndian.AppendUint64(c.key[:0], h.packs[i].seq)
		if err := c.emit(outcomes, h.hour, c.key, h.packs[i].sealed); err != nil {
			return err
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(h.later), record.Position.Compare) {
		c.key = appendPosition(c.key[:0], p)
		if err := c.emit(outcomes, h.hour, c.key, h.later[p]); err != nil {
			return err
		}
	}
	return nil
}

func (c *changer) batches(h *hourly) error {
	order := slices.SortedFunc(maps.Keys(h.batches), func(a, b batchKey) int {
		return cmp.Or(strings.Compare(a.writer, b.writer), cmp.Compare(a.number, b.number))
	})
	for _, k := range order {
		c.key = appendBatchKey(c.key[:0], k.writer, k.number)
		buf := c.mem.begin()
		start := len(buf)
		buf = binary.AppendUvarint(buf, h.batches[k])
		buf = appendSeal(buf, start, batches, h.hour, c.key)
		if err := c.emit(batches, h.hour, c.key, c.mem.end(buf)); err != nil {
			return err
		}
	}
	return nil
}

func (c *changer) dead() error {
	for i := range c.g.dead {
		c.key = appendPosition(c.key[:0], c.g.dead[i].position)
		if err := c.emit(deadLetters, 0, c.key, c.g.dead[i].sealed); err != nil {
			return err
		}
	}
	return nil
}
