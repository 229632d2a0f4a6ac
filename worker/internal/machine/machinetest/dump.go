package machinetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Dump is the entire content as sorted text: two stores hold the same if and only if their dumps
// are the same bytes. A field that is added to the state has to be added here.
func (m *Memory) Dump() string {
	var b strings.Builder
	m.dumpUsers(&b)
	for _, d := range m.due {
		fmt.Fprintf(&b, "due %d %s %q %q\n", d.At, Pos(d.Position), d.account, d.user)
	}
	for _, hour := range slices.Sorted(maps.Keys(m.hours)) {
		m.hours[hour].dump(&b, hour)
	}
	m.dumpKeys(&b)
	for _, d := range m.dead {
		b.WriteString(DumpDeadLetter(d))
	}
	return b.String()
}

// dumpKeys names a key by the trigger that it stands for alone: a Store need not be able to tell its text.
func (m *Memory) dumpKeys(b *strings.Builder) {
	for _, hour := range slices.Sorted(maps.Keys(m.keys)) {
		list := slices.SortedFunc(maps.Values(m.keys[hour]), func(x, y machine.Key) int { return x.Position.Compare(y.Position) })
		for _, k := range list {
			fmt.Fprintf(b, "hour %d key of %s print=%q at=%d\n", hour, Pos(k.Position), k.Print, k.At)
		}
	}
}

func (m *Memory) dumpUsers(b *strings.Builder) {
	keys := slices.SortedFunc(maps.Keys(m.users), func(x, y userKey) int {
		return cmp.Or(cmp.Compare(x.account, y.account), cmp.Compare(x.user, y.user))
	})
	for _, k := range keys {
		b.WriteString(DumpUser(k.account, k.user, m.users[k]))
	}
}

func (bk *bucket) dump(b *strings.Builder, hour int64) {
	for _, seq := range slices.Sorted(maps.Keys(bk.outcomes)) {
		for _, out := range bk.outcomes[seq] {
			fmt.Fprintf(b, "hour %d %s", hour, DumpOutcome(out))
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(bk.later), record.Position.Compare) {
		fmt.Fprintf(b, "hour %d later %s", hour, DumpOutcome(bk.later[p]))
	}
	batches := slices.SortedFunc(maps.Keys(bk.batches), func(x, y batchKey) int {
		return cmp.Or(cmp.Compare(x.writer, y.writer), cmp.Compare(x.number, y.number))
	})
	for _, k := range batches {
		fmt.Fprintf(b, "hour %d batch %s %d at %d\n", hour, k.writer, k.number, bk.batches[k])
	}
}

// Pos spells a position as ids do, without the partition.
func Pos(p record.Position) string { return fmt.Sprintf("%d-%d", p.Seq, p.Index) }

// DumpUser is everything about one user, a line for each thing.
func DumpUser(account, user string, u *machine.User) string {
	var b strings.Builder
	fmt.Fprintf(&b, "user %q %q bot=%q module=%d/%t bytes=%d version=%d updated=%d\n",
		account, user, u.Bot, u.Module, u.HasModule, u.VarBytes, u.Version, u.UpdatedAt)
	for _, v := range u.Vars {
		fmt.Fprintf(&b, "\tvar %s=%q\n", v.Name, v.Value)
	}
	for _, p := range u.Pending {
		fmt.Fprintf(&b, "\tpending %d %s module=%d bot=%q accepted=%d trace=%q\n",
			p.Due.At, Pos(p.Due.Position), p.Module, p.Bot, p.AcceptedAt, p.Trace)
	}
	for _, c := range u.Changes {
		fmt.Fprintf(&b, "\tchange %s at %d module %d to %d %q\n", Pos(c.ID), c.At, c.ModuleBefore, c.ModuleAfter, c.Variables)
	}
	return b.String()
}

// DumpOutcome is an outcome as one line.
func DumpOutcome(o machine.Outcome) string {
	return fmt.Sprintf("outcome %s %s %q %q %s reason=%q of=%s accepted=%d applied=%d version=%d\n", Pos(o.Position), o.Kind,
		o.Account, o.User, o.Status, o.Reason, Pos(o.DuplicateOf), o.AcceptedAt, o.AppliedAt, o.UserVersion)
}

// DumpDeadLetter is a dead letter as one line.
func DumpDeadLetter(d machine.DeadLetter) string {
	return fmt.Sprintf("dead %s whole=%t account=%q %s at %d %q\n", Pos(d.Position), d.Whole, d.Account, d.Reason, d.At, d.Data)
}

// DumpHead is a head as sorted text.
func DumpHead(h machine.Head) string {
	var b strings.Builder
	fmt.Fprintf(&b, "head applied=%d time=%d events=%d limits=%+v configured=%t users=%d pending=%d\n",
		h.Applied, h.StreamTime, h.Events, h.Limits, h.Configured, h.Users, h.Pending)
	for _, k := range h.Keys {
		fmt.Fprintf(&b, "keys of hour %d: %d\n", k.Hour, k.Count)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Writers)) {
		fmt.Fprintf(&b, "writer %s %d seen %d\n", name, h.Writers[name].Number, h.Writers[name].Seen)
	}
	return b.String()
}
