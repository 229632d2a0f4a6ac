package store

import (
	"bytes"
	"container/heap"
	"fmt"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// dueOp is what a generation did last with the due entry of a position.
type dueOp struct {
	at      machine.Millis
	key     string // the user's; empty if deleted
	deleted bool
}

type dueItem struct {
	machine.Due
	key string // the user's
}

// dueHeap has the earliest of a generation's additions on top. Deleted ones stay until they get there.
type dueHeap []dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].Compare(h[j].Due) < 0 }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueItem)) }
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = dueItem{}
	*h = (*h)[:last]
	return x
}

// defaultWindow is how many due entries are read from the file at once.
const defaultWindow = 512

// schedule answers what is due next. The answer is kept until the entry is deleted, so that asking when nothing is due
// costs nothing. Otherwise it is the earliest of three: the additions of either generation, and a window that moves
// forward through the file's entries and never back over what was deleted.
type schedule struct {
	known  bool // next is right
	ok     bool // there is one
	next   machine.Due
	key    []byte
	split  int // length of the account in key
	window window
}

// window is a part of the file's due entries in memory.
type window struct {
	size  int // items read at once
	items []dueItem
	at    int         // of items: those before are deleted, or shadowed
	from  machine.Due // where the next part begins
	any   bool        // from is a place; otherwise at the beginning
	end   bool        // there is no next part
	loads int         // parts read so far
}

// NextDue implements machine.Store.
func (s *Store) NextDue() (d machine.Due, account, user []byte, ok bool, err error) {
	n := &s.sched
	if !n.known {
		if err := s.findNext(); err != nil {
			return machine.Due{}, nil, nil, false, fmt.Errorf("read due index: %w", err)
		}
	}
	if !n.ok {
		return machine.Due{}, nil, nil, false, nil
	}
	return n.next, n.key[:n.split:n.split], n.key[n.split+1:], true, nil
}

// PutDue implements machine.Store.
func (s *Store) PutDue(d machine.Due, account, user []byte) {
	g, key := s.active, s.userKeyString(account, user)
	g.due[d.Position] = dueOp{at: d.At, key: key}
	heap.Push(&g.heap, dueItem{d, key})
	g.bytes += dueOverhead
	if n := &s.sched; n.known && (!n.ok || d.Compare(n.next) < 0) {
		n.set(dueItem{d, key})
	}
}

// userKeyString shares the key of a user who is in the active generation: who gets a due entry mostly was put just before.
func (s *Store) userKeyString(account, user []byte) string {
	if l := &s.looked; l.is(account, user) && l.index >= 0 {
		return s.active.users[l.index].key
	}
	s.key = appendUserKey(s.key[:0], account, user)
	return string(s.key)
}

// DeleteDue implements machine.Store.
func (s *Store) DeleteDue(d machine.Due) {
	s.active.due[d.Position] = dueOp{at: d.At, deleted: true}
	s.active.bytes += dueOverhead
	if n := &s.sched; n.ok && n.next == d {
		n.known = false
	}
}

// set makes an item the answer.
func (n *schedule) set(item dueItem) {
	n.known, n.ok, n.next = true, true, item.Due
	n.key = append(n.key[:0], item.key...)
	n.split = bytes.IndexByte(n.key, 0)
}

func (s *Store) findNext() error {
	best, ok := s.active.earliest(nil)
	if s.frozen != nil {
		if item, has := s.frozen.earliest(s.active); has && (!ok || item.Compare(best.Due) < 0) {
			best, ok = item, true
		}
	}
	item, has, err := s.peekWindow()
	if err != nil {
		return err
	}
	if has && (!ok || item.Compare(best.Due) < 0) {
		best, ok = item, true
	}
	if !ok {
		s.sched.known, s.sched.ok = true, false
		return nil
	}
	s.sched.set(best)
	return nil
}

// earliest is the first addition that still counts; over is the generation above, if any.
func (g *generation) earliest(over *generation) (dueItem, bool) {
	for len(g.heap) > 0 {
		top := g.heap[0]
		op := g.due[top.Position]
		if !op.deleted && op.at == top.At && !over.shadowsDue(top.Position) {
			return top, true
		}
		heap.Pop(&g.heap)
	}
	return dueItem{}, false
}

func (g *generation) shadowsDue(p record.Position) bool {
	if g == nil {
		return false
	}
	_, ok := g.due[p]
	return ok
}

// peekWindow is the file's earliest entry that no generation says anything about.
func (s *Store) peekWindow() (dueItem, bool, error) {
	w := &s.sched.window
	for {
		for ; w.at < len(w.items); w.at++ {
			p := w.items[w.at].Position
			if !s.active.shadowsDue(p) && !s.frozen.shadowsDue(p) {
				return w.items[w.at], true, nil
			}
		}
		if w.end {
			return dueItem{}, false, nil
		}
		if err := s.loadWindow(); err != nil {
			return dueItem{}, false, err
		}
	}
}

// loadWindow reads the next part of the due index.
func (s *Store) loadWindow() (err error) {
	r, err := s.file.read()
	if err != nil {
		return err
	}
	defer s.file.done()
	defer guard()(&err)
	b, err := r.table(due)
	if err != nil {
		return err
	}
	w := &s.sched.window
	items := w.items[:0]
	cursor := b.Cursor()
	k, v := cursor.First()
	if w.any {
		s.key = appendDue(s.key[:0], w.from)
		k, v = cursor.Seek(s.key)
	}
	for ; k != nil && len(items) < w.size; k, v = cursor.Next() {
		item, err := decodeDueEntry(k, v)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	w.items, w.at, w.end = items, 0, k == nil
	w.loads++
	if k != nil {
		w.from, err = decodeDue(k)
		w.any = true
	}
	return err
}

func decodeDueEntry(key, sealed []byte) (dueItem, error) {
	content, err := unseal(due, 0, key, sealed)
	if err != nil {
		return dueItem{}, err
	}
	if _, _, err := splitUserKey(content); err != nil {
		return dueItem{}, err
	}
	d, err := decodeDue(key)
	return dueItem{d, string(content)}, err
}

// release puts the window back to the first entry that counts once the frozen generation is in the file: where it stands now,
// or at the earliest addition of that generation. The answer stays what it was.
func (n *schedule) release(s *Store) {
	w := &n.window
	from, any, end := w.from, w.any, w.end
	if w.at < len(w.items) {
		from, any, end = w.items[w.at].Due, true, false
	}
	if first, ok := s.frozen.earliest(s.active); ok && (end || any && first.Compare(from) < 0) {
		from, any, end = first.Due, true, false
	}
	clear(w.items)
	*w = window{size: w.size, loads: w.loads, items: w.items[:0], from: from, any: any, end: end}
}

// DueOf implements machine.Store.
func (s *Store) DueOf(p record.Position) (d machine.Due, account, user []byte, ok bool, err error) {
	for _, g := range []*generation{s.active, s.frozen} {
		if !g.shadowsDue(p) {
			continue
		}
		op := g.due[p]
		if op.deleted {
			return machine.Due{}, nil, nil, false, nil
		}
		account, user, err = splitUserKey([]byte(op.key))
		return machine.Due{At: op.at, Position: p}, account, user, err == nil, err
	}
	return s.readDueOf(p)
}

func (s *Store) readDueOf(p record.Position) (d machine.Due, account, user []byte, ok bool, err error) {
	fail := func(err error) (machine.Due, []byte, []byte, bool, error) {
		return machine.Due{}, nil, nil, false, fmt.Errorf("read scheduled entry: %w", err)
	}
	key, at, found, err := s.readScheduled(p)
	if err != nil {
		return fail(err)
	}
	if !found {
		return machine.Due{}, nil, nil, false, nil
	}
	if account, user, err = splitUserKey(key); err != nil {
		return fail(err)
	}
	return machine.Due{At: at, Position: p}, account, user, true, nil
}

func (s *Store) readScheduled(p record.Position) (user []byte, at machine.Millis, ok bool, err error) {
	r, err := s.file.read()
	if err != nil {
		return nil, 0, false, err
	}
	defer s.file.done()
	defer guard()(&err)
	s.key = appendPosition(s.key[:0], p)
	content, err := r.get(scheduled, 0, s.key)
	if err != nil || content == nil {
		return nil, 0, false, err
	}
	at, user, err = decodeScheduled(content)
	return bytes.Clone(user), at, err == nil, err
}
