package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// userVersion is the first byte of an encoded user.
const userVersion = 1

const (
	userHasModule = 1 << iota
	userFlags     // all flags and above
)

// Flags of a change: most move no module.
const (
	changeFollows = 1 << iota // ModuleBefore is where the change before left it
	changeStays               // ModuleAfter is ModuleBefore
	changeFlags
)

// appendUser encodes a user: first all numbers, then all text, then all values, so that a decoder needs two
// allocations for the bytes and can bound the rest.
func appendUser(dst []byte, u *machine.User) []byte {
	text, values := userSizes(u)
	dst = append(dst, userVersion)
	dst = binary.AppendUvarint(dst, uint64(text))
	dst = binary.AppendUvarint(dst, uint64(values))
	dst = appendUserNumbers(dst, u)
	dst = appendUserText(dst, u)
	for i := range u.Vars {
		dst = append(dst, u.Vars[i].Value...)
	}
	return dst
}

// userSizes is how many bytes of text and of values follow the numbers.
func userSizes(u *machine.User) (text, values int) {
	text = len(u.Bot)
	for i := range u.Vars {
		text += len(u.Vars[i].Name)
		values += len(u.Vars[i].Value)
	}
	for i := range u.Pending {
		text += len(u.Pending[i].Bot) + len(u.Pending[i].Trace)
	}
	for i := range u.Changes {
		for _, name := range u.Changes[i].Variables {
			if _, known := findVar(u.Vars, name); !known {
				text += len(name)
			}
		}
	}
	return text, values
}

func appendUserNumbers(dst []byte, u *machine.User) []byte {
	var flags byte
	if u.HasModule {
		flags |= userHasModule
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, u.Version)
	dst = binary.AppendVarint(dst, u.UpdatedAt)
	dst = binary.AppendVarint(dst, u.Module)
	dst = binary.AppendUvarint(dst, uint64(len(u.Bot)))
	dst = binary.AppendUvarint(dst, uint64(len(u.Vars)))
	for i := range u.Vars {
		dst = binary.AppendUvarint(dst, uint64(len(u.Vars[i].Name)))
		dst = binary.AppendUvarint(dst, uint64(len(u.Vars[i].Value)))
	}
	dst = appendPendings(dst, u.Pending)
	return appendChanges(dst, u)
}

// appendPendings and appendChanges write times and sequences as differences to the entry before.
func appendPendings(dst []byte, pending []machine.Pending) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(pending)))
	var before machine.Due
	for i := range pending {
		p := &pending[i]
		dst = binary.AppendVarint(dst, p.Due.At-before.At)
		dst = binary.AppendVarint(dst, int64(p.Due.Seq-before.Seq))
		dst = binary.AppendUvarint(dst, uint64(p.Due.Index))
		dst = binary.AppendVarint(dst, p.Module)
		dst = binary.AppendVarint(dst, p.AcceptedAt-p.Due.At)
		dst = binary.AppendUvarint(dst, uint64(len(p.Bot)))
		dst = binary.AppendUvarint(dst, uint64(len(p.Trace)))
		before = p.Due
	}
	return dst
}

func appendChanges(dst []byte, u *machine.User) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(u.Changes)))
	dst = binary.AppendUvarint(dst, uint64(countNames(u.Changes)))
	var before machine.Change
	for i := range u.Changes {
		c := &u.Changes[i]
		var flags byte
		if c.ModuleBefore == before.ModuleAfter {
			flags |= changeFollows
		}
		if c.ModuleAfter == c.ModuleBefore {
			flags |= changeStays
		}
		dst = append(dst, flags)
		dst = binary.AppendVarint(dst, int64(c.ID.Seq-before.ID.Seq))
		dst = binary.AppendUvarint(dst, uint64(c.ID.Index))
		dst = binary.AppendVarint(dst, c.At-before.At)
		if flags&changeFollows == 0 {
			dst = binary.AppendVarint(dst, c.ModuleBefore)
		}
		if flags&changeStays == 0 {
			dst = binary.AppendVarint(dst, c.ModuleAfter)
		}
		dst = appendNames(dst, u.Vars, c.Variables)
		before = *c
	}
	return dst
}

// countNames is how many names all changes have, so that a decoder can make room for them at once.
func countNames(changes []machine.Change) (n int) {
	for i := range changes {
		n += len(changes[i].Variables)
	}
	return n
}

// appendNames writes 1 + the index of a variable that the user has; of any other name 0 and the length.
func appendNames(dst []byte, vars []machine.Var, names []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, name := range names {
		if i, known := findVar(vars, name); known {
			dst = binary.AppendUvarint(dst, uint64(i)+1)
			continue
		}
		dst = binary.AppendUvarint(append(dst, 0), uint64(len(name)))
	}
	return dst
}

func appendUserText(dst []byte, u *machine.User) []byte {
	dst = append(dst, u.Bot...)
	for i := range u.Vars {
		dst = append(dst, u.Vars[i].Name...)
	}
	for i := range u.Pending {
		dst = append(append(dst, u.Pending[i].Bot...), u.Pending[i].Trace...)
	}
	for i := range u.Changes {
		for _, name := range u.Changes[i].Variables {
			if _, known := findVar(u.Vars, name); !known {
				dst = append(dst, name...)
			}
		}
	}
	return dst
}

// findVar is the index of a variable. With few, which is the rule, comparing all is faster than a search: most differ
// in length, and an equal name is mostly the same memory.
func findVar(vars []machine.Var, name string) (int, bool) {
	if len(vars) <= 16 {
		for i := range vars {
			if vars[i].Name == name {
				return i, true
			}
		}
		return 0, false
	}
	i := sort.Search(len(vars), func(i int) bool { return vars[i].Name >= name })
	return i, i < len(vars) && vars[i].Name == name
}

// userDecoder decodes one user.
type userDecoder struct {
	numbers decoder
	text    cursor[string]
	values  cursor[[]byte]
	names   []string // room for those of changes
	u       machine.User
}

// decodeUser accepts exactly what appendUser writes. Nothing of b is referred to afterwards.
func decodeUser(b []byte) (*machine.User, error) {
	if len(b) > 0 && b[0] != userVersion {
		return nil, unknownVersion("user", b[0], userVersion)
	}
	d := &userDecoder{}
	if !d.split(b) || !d.decode() {
		return nil, corrupt("decode user")
	}
	return &d.u, nil
}

// split finds the three parts.
func (d *userDecoder) split(b []byte) bool {
	head := decoder{b: b}
	head.byte()
	text, values := head.uvarint(), head.uvarint()
	size := uint64(len(head.b))
	if head.bad || text > size || values > size-text {
		return false
	}
	d.numbers.b = head.take(size - text - values)
	d.text.rest = string(head.take(text))
	d.values.rest = bytes.Clone(head.take(values))
	return true
}

func (d *userDecoder) decode() bool {
	n, u := &d.numbers, &d.u
	flags := n.byte()
	u.HasModule = flags&userHasModule != 0
	u.Version = n.uvarint()
	u.UpdatedAt = n.varint()
	u.Module = n.varint()
	u.Bot = d.text.next(n.uvarint())
	ok := d.decodeVars() && d.decodePending() && d.decodeChanges()
	return ok && flags < userFlags && n.end() && !d.text.bad && d.text.rest == "" && !d.values.bad && len(d.values.rest) == 0
}

func (d *userDecoder) decodeVars() bool {
	n, u := &d.numbers, &d.u
	count := n.count(2)
	if count == 0 {
		return true
	}
	u.Vars = make([]machine.Var, count)
	for i := range u.Vars {
		v := &u.Vars[i]
		v.Name = d.text.next(n.uvarint())
		v.Value = slices.Clip(d.values.next(n.uvarint()))
		u.VarBytes += int64(len(v.Name) + len(v.Value))
		if i > 0 && v.Name <= u.Vars[i-1].Name {
			return false
		}
	}
	return true
}

func (d *userDecoder) decodePending() bool {
	n := &d.numbers
	count := n.count(7)
	if count == 0 {
		return true
	}
	d.u.Pending = make([]machine.Pending, count)
	var before machine.Due
	for i := range d.u.Pending {
		p := &d.u.Pending[i]
		p.Due.At = before.At + n.varint()
		p.Due.Seq = before.Seq + uint64(n.varint())
		p.Due.Index = n.uint32()
		p.Module = n.varint()
		p.AcceptedAt = p.Due.At + n.varint()
		p.Bot = d.text.next(n.uvarint())
		p.Trace = d.text.next(n.uvarint())
		if i > 0 && p.Due.Compare(before) <= 0 {
			return false
		}
		before = p.Due
	}
	return true
}

func (d *userDecoder) decodeChanges() bool {
	n := &d.numbers
	count, names := n.count(5), n.count(1)
	if count == 0 {
		return names == 0
	}
	d.names = make([]string, names)
	d.u.Changes = make([]machine.Change, count)
	var before machine.Change
	for i := range d.u.Changes {
		c := &d.u.Changes[i]
		flags := n.byte()
		c.ID = record.Position{Seq: before.ID.Seq + uint64(n.varint()), Index: n.uint32()}
		c.At = before.At + n.varint()
		if c.ModuleBefore = before.ModuleAfter; flags&changeFollows == 0 {
			c.ModuleBefore = n.varint()
		}
		if c.ModuleAfter = c.ModuleBefore; flags&changeStays == 0 {
			c.ModuleAfter = n.varint()
		}
		redundant := flags&changeFollows == 0 && c.ModuleBefore == before.ModuleAfter ||
			flags&changeStays == 0 && c.ModuleAfter == c.ModuleBefore
		if flags >= changeFlags || redundant || !d.decodeNames(c) {
			return false
		}
		before = *c
	}
	return len(d.names) == 0
}

func (d *userDecoder) decodeNames(c *machine.Change) bool {
	n, vars := &d.numbers, d.u.Vars
	count := n.count(1)
	if count == 0 {
		return true
	}
	if count > len(d.names) {
		return false
	}
	c.Variables, d.names = d.names[:count:count], d.names[count:]
	for i := range c.Variables {
		ref := n.uvarint()
		switch {
		case ref > uint64(len(vars)):
			return false
		case ref > 0:
			c.Variables[i] = vars[ref-1].Name
		default:
			c.Variables[i] = d.text.next(n.uvarint())
			if _, known := findVar(vars, c.Variables[i]); known {
				return false
			}
		}
	}
	return true
}
