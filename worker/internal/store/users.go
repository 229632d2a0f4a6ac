package store

import (
	"fmt"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// userEntry is a user who was touched in a generation.
type userEntry struct {
	key  string
	user *machine.User // nil: deleted
	size int64
}

// lookup is the last user asked for. A machine asks for a user and then puts the same one: the second
// look into the maps is saved.
type lookup struct {
	key   []byte
	split int   // length of the account
	index int32 // in active.users, or -1
}

func (l *lookup) is(account, user []byte) bool {
	return l.split == len(account) && len(l.key) == len(account)+1+len(user) &&
		string(l.key[:l.split]) == string(account) && string(l.key[l.split+1:]) == string(user)
}

func (l *lookup) set(account, user []byte) {
	l.key, l.split, l.index = appendUserKey(l.key[:0], account, user), len(account), -1
}

func (l *lookup) forget() { l.key, l.split, l.index = l.key[:0], 0, -1 }

// User implements machine.Store.
func (s *Store) User(account, user []byte) (*machine.User, error) {
	l := &s.looked
	if !l.is(account, user) {
		l.set(account, user)
		if i, ok := s.active.index[string(l.key)]; ok {
			l.index = i
		}
	}
	if l.index >= 0 {
		return s.active.users[l.index].user, nil
	}
	if s.frozen != nil {
		if i, ok := s.frozen.index[string(l.key)]; ok {
			return s.frozen.users[i].user, nil
		}
	}
	if u, ok := s.cache.get(l.key); ok {
		return u, nil
	}
	return s.readUser(l.key)
}

func (s *Store) readUser(key []byte) (u *machine.User, err error) {
	r, err := s.file.read()
	if err != nil {
		return nil, fmt.Errorf("read user: %w", err)
	}
	defer s.file.done()
	defer guard()(&err)
	content, err := r.get(users, 0, key)
	if err != nil || content == nil {
		return nil, err
	}
	if u, err = decodeUser(content); err != nil {
		return nil, err
	}
	s.cache.put(key, u)
	return u, nil
}

// PutUser implements machine.Store.
func (s *Store) PutUser(account, user []byte, u *machine.User) {
	l, g := &s.looked, s.active
	if !l.is(account, user) {
		l.set(account, user)
		if i, ok := g.index[string(l.key)]; ok {
			l.index = i
		}
	}
	size := sizeOf(u)
	if l.index >= 0 {
		e := &g.users[l.index]
		g.bytes += size - e.size
		e.user, e.size = u, size
		return
	}
	s.cache.drop(l.key)
	key := string(l.key)
	l.index = int32(len(g.users))
	g.index[key] = l.index
	g.users = append(g.users, userEntry{key, u, size})
	g.bytes += size + int64(len(key)) + userOverhead
}

// Estimates of memory, in bytes.
const (
	userOverhead    = 96 // of a map's slot and a userEntry
	userSize        = 160
	varSize         = 40
	pendingSize     = 104
	changeSize      = 72
	dueOverhead     = 160 // of a dueOp, a map's slot and a heap's item
	keyOverhead     = 128 // of a machine.Key and a map's slot
	outcomeOverhead = 48  // of a pack, or of a map's slot
)

// sizeOf estimates a user. What it shares with an earlier version is counted for both.
func sizeOf(u *machine.User) int64 {
	if u == nil {
		return 0
	}
	return userSize + u.VarBytes + varSize*int64(len(u.Vars)) + pendingSize*int64(len(u.Pending)) + changeSize*int64(len(u.Changes))
}

// cache holds users as they are in the file: those of the generation that was released last, and those that were
// read since. Whoever is written to leaves it.
type cache struct {
	limit   int64 // bytes of each half, by estimate; 0 = no cache
	retired *generation
	read    map[string]*machine.User
	bytes   int64 // of read
}

func (c *cache) get(key []byte) (*machine.User, bool) {
	if c.retired != nil {
		if i, ok := c.retired.index[string(key)]; ok {
			return c.retired.users[i].user, true
		}
	}
	u, ok := c.read[string(key)]
	return u, ok
}

// put begins anew when there is no room: what is hot is soon back.
func (c *cache) put(key []byte, u *machine.User) {
	size := sizeOf(u) + int64(len(key)) + userOverhead
	if c.bytes+size > c.limit || c.read == nil {
		c.read, c.bytes = make(map[string]*machine.User), 0
	}
	if size > c.limit {
		return
	}
	c.read[string(key)] = u
	c.bytes += size
}

func (c *cache) drop(key []byte) {
	if len(c.read) > 0 {
		delete(c.read, string(key))
	}
}

// retire takes over the users of a generation that is in the file now. Whoever was in the one before and
// has been written to since is in this one.
func (c *cache) retire(g *generation) {
	c.retired = nil
	if g.bytes <= c.limit {
		c.retired = &generation{index: g.index, users: g.users}
	}
}
