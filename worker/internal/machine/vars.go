package machine

import (
	"bytes"
	"slices"
	"sort"

	"github.com/triggerd/triggerd/shared/record"
)

// aloneBytes is the size from which a value is copied into memory of its own. Smaller ones of a record share
// one allocation: cheaper, and a survivor pins little.
const aloneBytes = 1 << 10

// plan is what merging a record's variables would do to a user.
type plan struct {
	set   []record.Var // sorted by name
	fresh int          // names that the user does not have
	bytes int64        // VarBytes afterwards
}

// planMerge measures a merge without doing it. set must be sorted by name.
func (u *User) planMerge(set []record.Var) plan {
	p := plan{set: set, bytes: u.VarBytes}
	rest := u.Vars
	for _, v := range set {
		i, found := findVar(rest, v.Name)
		rest = rest[i:]
		if found {
			p.bytes -= rest[0].size()
		} else {
			p.fresh++
		}
		p.bytes += int64(len(v.Name) + len(v.Value))
	}
	return p
}

// merge overwrites the user's variables as planned. It builds a new slice; values that stay are shared with the
// previous version, new ones are copied out of the message. It returns the names that were set, sorted.
func (u *User) merge(p plan, in *interner) (names []string) {
	if len(p.set) == 0 {
		return nil
	}
	names, rest := u.sameNames(p.set), u.Vars
	known := names != nil
	vars := make([]Var, 0, len(rest)+p.fresh)
	values := makeArena(p.set)
	for _, v := range p.set {
		i, found := findVar(rest, v.Name)
		vars, rest = append(vars, rest[:i]...), rest[i:]
		set := Var{Value: values.copy(v.Value)}
		if found {
			set.Name, rest = rest[0].Name, rest[1:]
		} else {
			set.Name = in.text(v.Name)
		}
		vars = append(vars, set)
		if !known {
			names = append(names, set.Name)
		}
	}
	u.Vars, u.VarBytes = append(vars, rest...), p.bytes
	return names
}

// sameNames is the list of names of the user's last change if it is that of set, and otherwise nil. Those who
// send triggers send the same names again and again: one list then serves all changes.
func (u *User) sameNames(set []record.Var) []string {
	if len(u.Changes) == 0 {
		return nil
	}
	last := u.Changes[len(u.Changes)-1].Variables
	if len(last) != len(set) {
		return nil
	}
	for i := range set {
		if last[i] != string(set[i].Name) {
			return nil
		}
	}
	return last
}

// findVar is where name is in vars, or belongs. Few variables are the rule, hundreds of thousands are possible.
func findVar(vars []Var, name []byte) (i int, found bool) {
	i = sort.Search(len(vars), func(i int) bool { return vars[i].Name >= string(name) })
	return i, i < len(vars) && vars[i].Name == string(name)
}

// arena copies small values into one allocation.
type arena []byte

func makeArena(set []record.Var) arena {
	n := 0
	for _, v := range set {
		if len(v.Value) < aloneBytes {
			n += len(v.Value)
		}
	}
	return make(arena, 0, n)
}

func (a *arena) copy(value []byte) []byte {
	if len(value) >= aloneBytes {
		return slices.Clone(value)
	}
	start := len(*a)
	*a = append(*a, value...)
	return (*a)[start:len(*a):len(*a)]
}

// sortVars sorts by name into scratch, unless set is sorted as it is.
func sortVars(set, scratch []record.Var) (sorted, scratchAfter []record.Var) {
	if slices.IsSortedFunc(set, compareVars) {
		return set, scratch
	}
	scratch = append(scratch[:0], set...)
	slices.SortFunc(scratch, compareVars)
	return scratch, scratch
}

func compareVars(a, b record.Var) int { return bytes.Compare(a.Name, b.Name) }
