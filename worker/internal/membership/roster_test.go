package membership

import (
	"slices"
	"testing"
	"time"
)

const ttl = 6 * time.Second

// tape feeds a roster; both clocks are the test's.
type tape struct {
	t        *testing.T
	roster   *roster
	revision uint64
	local    time.Time
	server   time.Time
}

func newTape(t *testing.T) *tape {
	return &tape{t: t, roster: newRoster(ttl), local: time.Unix(1000, 0), server: time.Unix(5000, 0)}
}

func (p *tape) pass(d time.Duration) { p.local, p.server = p.local.Add(d), p.server.Add(d) }

func (p *tape) put(id string, change ...func(*Member)) string {
	p.t.Helper()
	m := Member{Home: "home-" + id, Started: time.Unix(int64(len(id)), 0)}
	for _, c := range change {
		c(&m)
	}
	return p.send(id, m.encode())
}

func (p *tape) send(id string, data []byte) string {
	p.t.Helper()
	p.revision++
	meaning, err := p.roster.take(message{id: id, data: data, revision: p.revision, created: p.server}, p.local)
	if err != nil {
		p.t.Fatal(err)
	}
	return meaning
}

func (p *tape) expect(ids ...string) {
	p.t.Helper()
	p.roster.expire(p.local)
	var got []string
	for _, m := range p.roster.members(Member{ID: "self", Home: "home-self"}) {
		got = append(got, m.ID)
	}
	if want := append(ids, "self"); !slices.Equal(got, want) {
		p.t.Errorf("at %s members are %v, want %v", p.local.Sub(time.Unix(1000, 0)), got, want)
	}
}

func TestMemberExpiresAfterTTL(t *testing.T) {
	p := newTape(t)
	p.put("a")
	p.put("b")
	p.roster.listed = true
	for range 3 { // b renews, a does not
		p.pass(2 * time.Second)
		p.put("b")
	}
	p.expect("a", "b")
	p.pass(time.Millisecond)
	p.expect("b")
}

// The local clock fills the gap between two messages, so that a lone survivor need not wait for its own next renewal.
func TestLocalClockFillsTheGap(t *testing.T) {
	p := newTape(t)
	p.put("a")
	p.roster.listed = true
	p.pass(2 * time.Second)
	p.put("b")
	p.pass(2 * time.Second)
	p.put("b")
	p.pass(2100 * time.Millisecond)
	p.expect("b")
}

// While nothing is heard, be it for an hour, nobody expires: then this worker is cut off, not the others dead. Without the bound of a step each
// worker would believe to be alone after every outage.
func TestSilenceExpiresNobody(t *testing.T) {
	p := newTape(t)
	p.put("a")
	p.put("b")
	p.roster.listed = true
	p.pass(time.Hour)
	p.expect("a", "b")
	p.put("a") // the broker is back
	p.expect("a", "b")
	p.pass(2 * time.Second)
	p.put("b")
	p.expect("a", "b")
}

// A worker that was frozen reads in one go what it has missed. The times of the server tell who lived meanwhile.
func TestBurstAfterFreeze(t *testing.T) {
	p := newTape(t)
	p.put("a")
	p.put("b")
	p.put("dead")
	p.roster.listed = true
	p.local = p.local.Add(time.Minute)
	for range 10 {
		p.server = p.server.Add(2 * time.Second)
		p.put("a")
		p.expectLive("a", "b")
		p.put("b")
		p.expectLive("a", "b")
	}
	p.expect("a", "b")
}

func (p *tape) expectLive(ids ...string) {
	p.t.Helper()
	p.roster.expire(p.local)
	for _, id := range ids {
		if p.roster.entries[id] == nil {
			p.t.Errorf("%s vanished", id)
		}
	}
}

// A server's clock that is set, forward or back, makes nobody vanish and nobody immortal.
func TestServerClockIsSet(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		p := newTape(t)
		p.put("a")
		p.put("b")
		p.put("dead")
		p.roster.listed = true
		p.server = p.server.Add(jump)
		for range 5 {
			p.pass(2 * time.Second)
			p.put("a")
			p.expectLive("a", "b")
			p.put("b")
		}
		p.expect("a", "b")
	}
}

// A list shows keys that are nearly over; their age counts from when they were put, not from when this worker came.
func TestAgeCountsInTheFirstList(t *testing.T) {
	p := newTape(t)
	p.put("old")
	p.server = p.server.Add(5 * time.Second)
	p.put("a")
	p.roster.listed = true
	p.expect("a", "old")
	p.pass(1100 * time.Millisecond)
	p.expect("a")
}

func TestMeanings(t *testing.T) {
	p := newTape(t)
	steps := []struct {
		change  func(*Member)
		meaning string
	}{
		{func(*Member) {}, causeJoined},
		{func(*Member) {}, nothing},
		{func(m *Member) { m.Serves = []int{1} }, said},
		{func(m *Member) { m.Serves, m.Halted = []int{1}, []int{2} }, causeHalted},
		{func(m *Member) { m.Halted, m.Leaving = []int{2}, true }, causeLeaving},
	}
	for i, s := range steps {
		if got := p.put("a", s.change); got != s.meaning {
			t.Errorf("step %d means %q, want %q", i, got, s.meaning)
		}
	}
	if got := p.send("a", nil); got != causeLeft {
		t.Errorf("deletion means %q", got)
	}
	if got := p.send("a", nil); got != nothing {
		t.Errorf("second deletion means %q", got)
	}
	p.revision-- // an old message, as a new watch lists it
	if got := p.put("a"); got != nothing {
		t.Errorf("old message means %q", got)
	}
}

// A killed worker that is started again does not stand beside itself until its old key expires; and its predecessor's key is deleted, lest it come
// back to life when the successor leaves.
func TestOneMemberForEachHome(t *testing.T) {
	p := newTape(t)
	home := func(name string) func(*Member) { return func(m *Member) { m.Home = name } }
	p.put("a", home("x"))
	p.put("aa", home("x")) // started later
	p.put("b", home("home-self"))
	p.expect("aa")
	if got := p.roster.ghosts(Member{ID: "self", Home: "home-self"}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("ghosts are %v", got)
	}
}

// When somebody was last heard of says since when its partitions have stood still.
func TestGone(t *testing.T) {
	p := newTape(t)
	p.put("killed")
	p.put("leaving", func(m *Member) { m.Leaving = true })
	p.put("restarted")
	start := p.local
	p.roster.listed = true
	p.pass(time.Second)
	p.send("leaving", nil)   // deleted by itself: it worked until now
	p.send("restarted", nil) // deleted by its successor
	p.pass(time.Second)
	p.put("other")
	p.pass(2 * time.Second)
	p.put("other")
	p.pass(2100 * time.Millisecond)
	p.put("other")
	p.expect("other")
	for id, want := range map[string]time.Time{"killed": start, "leaving": start.Add(time.Second), "restarted": start} {
		if at, ok := p.roster.gone[id]; !ok || !at.Equal(want) {
			t.Errorf("%s was last heard of at %s, %v; want %s", id, at, ok, want)
		}
	}
	p.pass(2 * keepGone)
	p.send("other", nil)
	if len(p.roster.gone) != 1 {
		t.Errorf("remembered are %v", p.roster.gone)
	}
}
