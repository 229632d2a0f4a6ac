package membership

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Assign says who owns each partition: the result has the owner's ID for each of them, and is empty if there are no members. It is a pure
// function of the set of members, so workers that see the same set agree without talking; their order plays no part.
//
// Members that are leaving own nothing, unless all are. Each of the n others gets ⌊partitions/n⌋ or ⌈partitions/n⌉ of them.
// A partition that its owner has halted falls to the best-ranked member that has not, over the quotas; if all have, it stays.
//
// A member's rank for a partition depends on the two alone (rendezvous hashing over Home), so that a change of the set moves little, and a
// worker that comes back finds the partitions whose files it has.
func Assign(partitions int, members []Member) []string {
	able := candidates(members)
	if len(able) == 0 {
		return make([]string, partitions)
	}
	owners := make([]string, partitions)
	bids := rank(partitions, able)
	share(owners, bids, able)
	pass(owners, bids, able)
	return owners
}

// Standbys says who stands by for each partition of owners, which Assign made of the same members: whoever owns it when its owner vanishes. So
// each partition has one, unless there is nobody but its owner and members that are leaving; then it is empty.
func Standbys(owners []string, members []Member) []string {
	standbys := make([]string, len(owners))
	for _, m := range members {
		if !slices.Contains(owners, m.ID) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(members), func(o Member) bool { return o.ID == m.ID || o.Leaving })
		next := Assign(len(owners), rest)
		for p, owner := range owners {
			if owner == m.ID {
				standbys[p] = next[p]
			}
		}
	}
	return standbys
}

// SameForAssign says whether Assign makes no difference between two members.
func SameForAssign(a, b Member) bool {
	return a.ID == b.ID && a.Home == b.Home && a.Leaving == b.Leaving && slices.Equal(a.Halted, b.Halted)
}

// candidates are the members that may own something, in an order that depends on nothing else.
func candidates(members []Member) []Member {
	able := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Leaving })
	if len(able) == 0 {
		able = slices.Clone(members)
	}
	slices.SortFunc(able, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Home, b.Home), cmp.Compare(a.ID, b.ID)) })
	return able
}

// bid is one member's rank for one partition.
type bid struct {
	score             uint64
	partition, member int // member is an index of the candidates
}

// rank is every bid, the highest first.
func rank(partitions int, able []Member) []bid {
	bids := make([]bid, 0, partitions*len(able))
	for i, m := range able {
		key := append([]byte(m.Home), 0)
		for p := range partitions {
			bids = append(bids, bid{xxhash.Sum64(binary.BigEndian.AppendUint32(key, uint32(p))), p, i})
		}
	}
	slices.SortFunc(bids, func(a, b bid) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.member, b.member), cmp.Compare(a.partition, b.partition))
	})
	return bids
}

// share gives each partition to the highest bid of a member that has not got its quota yet. As many members as there are partitions left over
// get one more.
func share(owners []string, bids []bid, able []Member) {
	least, more := len(owners)/len(able), len(owners)%len(able)
	got := make([]int, len(able))
	for _, b := range bids {
		switch {
		case owners[b.partition] != "" || got[b.member] > least:
			continue
		case got[b.member] == least:
			if more == 0 {
				continue
			}
			more--
		}
		got[b.member]++
		owners[b.partition] = able[b.member].ID
	}
}

// pass gives halted partitions to members that have not tried them.
func pass(owners []string, bids []bid, able []Member) {
	halted := func(p int) bool {
		i := slices.IndexFunc(able, func(m Member) bool { return m.ID == owners[p] })
		return slices.Contains(able[i].Halted, p)
	}
	var stuck []int
	for p := range owners {
		if halted(p) {
			stuck = append(stuck, p)
		}
	}
	for _, b := range bids {
		if i := slices.Index(stuck, b.partition); i >= 0 && !slices.Contains(able[b.member].Halted, b.partition) {
			owners[b.partition] = able[b.member].ID
			stuck = slices.Delete(stuck, i, i+1)
		}
	}
}
