package membership

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Workers of different versions run side by side during an update and must agree, or partitions have two owners, or none, for as long as it
// takes: this table must not change.
func TestAssignGolden(t *testing.T) {
	members := []Member{{ID: "w1", Home: "red"}, {ID: "w2", Home: "green"}, {ID: "w3", Home: "blue"}}
	for _, c := range []struct {
		name    string
		members []Member
		want    []string
	}{
		{"one", members[:1], []string{"w1", "w1", "w1", "w1", "w1", "w1", "w1", "w1"}},
		{"two", members[:2], []string{"w1", "w2", "w1", "w1", "w2", "w2", "w2", "w1"}},
		{"three", members, []string{"w1", "w2", "w3", "w1", "w2", "w3", "w3", "w1"}},
		{"one leaves", []Member{members[0], {ID: "w2", Home: "green", Leaving: true}, members[2]}, []string{"w1", "w1", "w3", "w1", "w3", "w3", "w3", "w1"}},
		{"one halts", []Member{members[0], {ID: "w2", Home: "green", Halted: []int{0, 1, 2, 3, 4, 5, 6, 7}}, members[2]}, []string{"w1", "w1", "w3", "w1", "w3", "w3", "w3", "w1"}},
	} {
		if d := cmp.Diff(c.want, Assign(8, c.members)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// draw makes a set of members with different homes.
func draw(t *rapid.T, least int) []Member {
	homes := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z2-7]{1,16}`), least, 24, rapid.ID).Draw(t, "homes")
	var members []Member
	for i, home := range homes {
		members = append(members, Member{ID: fmt.Sprintf("w%d", i), Home: home})
	}
	return members
}

func drawPartitions(t *rapid.T) int {
	return rapid.OneOf(rapid.IntRange(1, 32), rapid.SampledFrom([]int{64, 256})).Draw(t, "partitions")
}

func TestAssignDoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, members := drawPartitions(t), draw(t, 1)
		for i := range members {
			members[i].Leaving = rapid.IntRange(0, 3).Draw(t, "leaving") == 0
			members[i].Halted = rapid.SliceOfN(rapid.IntRange(0, p-1), 0, 4).Draw(t, "halted")
		}
		shuffled := rapid.Permutation(members).Draw(t, "shuffled")
		if d := cmp.Diff(Assign(p, members), Assign(p, shuffled)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestAssignKeepsQuotas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, members := drawPartitions(t), draw(t, 1)
		got := count(Assign(p, members))
		for _, m := range members {
			if n := got[m.ID]; n < p/len(members) || n > (p+len(members)-1)/len(members) {
				t.Fatalf("%s owns %d of %d partitions among %d", m.ID, n, p, len(members))
			}
		}
	})
}

func count(owners []string) map[string]int {
	got := map[string]int{}
	for _, o := range owners {
		got[o]++
	}
	return got
}

func moves(a, b []string) (n int) {
	for p := range a {
		if a[p] != b[p] {
			n++
		}
	}
	return n
}

// fair is how many have to move when the n-th member joins, or leaves.
func fair(partitions, n int) int { return (partitions + n - 1) / n }

// Whoever joins brings one chain of moves for each partition that it gets; chains are short. The bound is wide because homes can be found that
// are unlucky together; TestMovesOnAverage holds the common case.
func TestAssignMovesLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, members := drawPartitions(t), draw(t, 2)
		before, after := Assign(p, members[1:]), Assign(p, members)
		n := len(members)
		if m, bound := moves(before, after), 2*fair(p, n-1)+n; m > bound {
			t.Fatalf("%d of %d partitions move between %d and %d members, over %d", m, p, n-1, n, bound)
		}
	})
}

func TestMovesOnAverage(t *testing.T) {
	const rounds = 50
	for _, p := range []int{4, 8, 16, 64, 256} {
		for n := 2; n <= min(p, 17); n++ {
			sum := 0
			for round := range rounds {
				var members []Member
				for i := range n {
					id := fmt.Sprintf("%d-%d", round, i)
					members = append(members, Member{ID: id, Home: id})
				}
				sum += moves(Assign(p, members[1:]), Assign(p, members))
			}
			if mean, bound := float64(sum)/rounds, 1.25*float64(fair(p, n))+float64(n)/2+1; mean > bound {
				t.Errorf("%d partitions, %d members: %.1f moves on average, over %.1f", p, n, mean, bound)
			}
		}
	}
}

// A worker that leaves owns nothing while others can take over, and everything it had if nobody can.
func TestLeavingMembers(t *testing.T) {
	stay, leave := Member{ID: "w1", Home: "red"}, Member{ID: "w2", Home: "green", Leaving: true}
	if got := count(Assign(8, []Member{stay, leave})); got["w1"] != 8 {
		t.Errorf("one stays: %v", got)
	}
	stay.Leaving = true
	if got := count(Assign(8, []Member{stay, leave})); got["w1"] != 4 || got["w2"] != 4 {
		t.Errorf("nobody stays: %v", got)
	}
	if got := Assign(2, nil); !slices.Equal(got, []string{"", ""}) {
		t.Errorf("nobody is there: %v", got)
	}
}

// A halted partition goes to a worker that has not tried it; the others stay where they are. If all have tried it stays too.
func TestHaltedPartitions(t *testing.T) {
	members := []Member{{ID: "w1", Home: "red"}, {ID: "w2", Home: "green"}, {ID: "w3", Home: "blue"}}
	before := Assign(8, members)
	for range members {
		owner := slices.IndexFunc(members, func(m Member) bool { return m.ID == Assign(8, members)[3] })
		if slices.Contains(members[owner].Halted, 3) {
			t.Fatalf("%s is asked twice", members[owner].ID)
		}
		if m := moves(before, Assign(8, members)); m > 1 {
			t.Errorf("%d partitions moved", m)
		}
		members[owner].Halted = []int{3}
	}
	if d := cmp.Diff(before, Assign(8, members)); d != "" {
		t.Errorf("all have tried (-before +after):\n%s", d)
	}
}

// Workers of different versions must agree about this too: a standby that nobody expects is no standby.
func TestStandbysGolden(t *testing.T) {
	members := []Member{{ID: "w1", Home: "red"}, {ID: "w2", Home: "green"}, {ID: "w3", Home: "blue"}}
	for _, c := range []struct {
		name    string
		members []Member
		want    []string
	}{
		{"one", members[:1], []string{"", "", "", "", "", "", "", ""}},
		{"two", members[:2], []string{"w2", "w1", "w2", "w2", "w1", "w1", "w1", "w2"}},
		{"three", members, []string{"w2", "w1", "w1", "w2", "w3", "w2", "w2", "w3"}},
		{"the other one leaves", []Member{members[0], {ID: "w2", Home: "green", Leaving: true}}, []string{"", "", "", "", "", "", "", ""}},
	} {
		if d := cmp.Diff(c.want, Standbys(Assign(8, c.members), c.members)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// Whoever vanishes, its partitions go to their standbys.
func TestStandbyIsTheNextOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, members := drawPartitions(t), draw(t, 2)
		for i := range members {
			members[i].Halted = rapid.SliceOfN(rapid.IntRange(0, p-1), 0, 2).Draw(t, "halted")
		}
		owners := Assign(p, members)
		standbys := Standbys(owners, members)
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "gone")
		next := Assign(p, slices.Concat(members[:gone], members[gone+1:]))
		for n, owner := range owners {
			if owner == members[gone].ID && next[n] != standbys[n] {
				t.Fatalf("partition %d goes to %s, its standby is %s", n, next[n], standbys[n])
			}
			if standbys[n] == "" || standbys[n] == owner {
				t.Fatalf("partition %d of %s has the standby %q", n, owner, standbys[n])
			}
		}
	})
}
