package membership

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// Workers of different versions read each other's keys during an update: the names must not change, and what is new must not disturb the old.
func TestMemberGolden(t *testing.T) {
	m := Member{ID: "w1", Version: Version, Home: "red", Host: "host", Started: time.Unix(1_700_000_000, 0).UTC(), Leaving: true,
		Serves: []int{1, 2}, Halted: []int{3}}
	const want = `{"version":1,"home":"red","host":"host","started_at":"2023-11-14T22:13:20Z","leaving":true,"serves":[1,2],"halted":[3]}`
	if got := string(m.encode()); got != want {
		t.Errorf("member is %s, want %s", got, want)
	}
	got, err := decode("w1", []byte(`{"version":2,"home":"red","standby":[7],"halted":[3]}`))
	if err != nil || got.Home != "red" || len(got.Halted) != 1 {
		t.Errorf("a later member is %+v, %v", got, err)
	}
}

// A worker on which everything has halted, with much to say about each, still is a member: its key stays within what can be written, the numbers are
// complete, and the first causes are told.
func TestEverythingHaltedCanBeSaid(t *testing.T) {
	m := Member{ID: "a", Home: strings.Repeat("h", 64), Host: strings.Repeat("x", 255), Causes: map[int]string{}}
	for p := range broker.MaxPartitions {
		m.Halted = append(m.Halted, p)
		m.Serves, m.Follows = append(m.Serves, p), append(m.Follows, p) // more than can be
		m.Causes[p] = fmt.Sprintf("partition %d halted: ", p) + strings.Repeat("<ä", 4*MaxCause)
	}
	r := newRig(t)
	a, b := r.join("a", "one", nil), r.join("b", "two", nil)
	a.Say(func(self *Member) {
		self.Halted, self.Serves, self.Follows, self.Causes = m.Halted, m.Serves, m.Follows, maps.Clone(m.Causes)
	})
	var seen Member
	natstest.Eventually(t, func() bool {
		seen, _ = b.View().Find("a")
		return len(seen.Halted) == broker.MaxPartitions
	}, "the other one hears it")
	if n := len(seen.encode()); n > maxValue {
		t.Errorf("the value has %d bytes", n)
	}
	if len(seen.Causes) != broker.MaxPartitions || !strings.HasPrefix(seen.Causes[0], "partition 0 halted: <ä") || seen.Causes[broker.MaxPartitions-1] != causeElsewhere {
		t.Errorf("%d causes, %.50q to %.50q", len(seen.Causes), seen.Causes[0], seen.Causes[broker.MaxPartitions-1])
	}
	if !utf8.ValidString(seen.Causes[0]) || len(seen.Causes[0]) > MaxCause+len("…") {
		t.Errorf("cause of %d bytes, valid %t", len(seen.Causes[0]), utf8.ValidString(seen.Causes[0]))
	}
}
