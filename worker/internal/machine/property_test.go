package machine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// partition is what the machines of these tests call themselves.
const partition = 7

// run is a machine together with all that it did.
type run struct {
	*machine.Machine
	store  *machinetest.Memory
	events []string // JSON, one each
}

// spiteful returns bytes that its next write overwrites, as a Store may.
type spiteful struct {
	*machinetest.Memory
	lent []byte
}

func (s *spiteful) NextDue() (machine.Due, []byte, []byte, bool, error) {
	d, account, user, ok, err := s.Memory.NextDue()
	s.lent = append(append(s.lent[:0], account...), user...)
	return d, s.lent[:len(account)], s.lent[len(account):], ok, err
}

func (s *spiteful) DeleteDue(d machine.Due) {
	s.Memory.DeleteDue(d)
	for i := range s.lent {
		s.lent[i] = '#'
	}
}

func newRun() *run { return runFrom(machine.Head{}, machinetest.NewMemory()) }

func runFrom(head machine.Head, st *machinetest.Memory) *run {
	return &run{Machine: machine.New(partition, head, &spiteful{Memory: st}), store: st}
}

// fork is a machine that was started from a checkpoint of r.
func (r *run) fork() *run {
	fork := runFrom(r.Head(), r.store.Clone())
	fork.events = slices.Clone(r.events)
	return fork
}

func (r *run) apply(msg machine.Message) (machine.Result, error) {
	return r.Apply(msg, func(e *machine.Event) {
		r.events = append(r.events, fmt.Sprintf("%d %s", e.Number, e.AppendJSON(nil)))
	})
}

func (r *run) applyAll(t rapid.TB, log []machine.Message) {
	t.Helper()
	for _, msg := range log {
		if _, err := r.apply(msg); err != nil {
			t.Fatalf("apply message %d: %v", msg.Seq, err)
		}
	}
}

// dump is everything that must be equal if two runs are.
func (r *run) dump() string {
	return machinetest.DumpHead(r.Head()) + r.store.Dump() + strings.Join(r.events, "\n")
}

func requireEqual(t rapid.TB, what string, got, want *run) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want.dump(), "\n"), strings.Split(got.dump(), "\n")); diff != "" {
		t.Fatalf("%s: differs (-want +got):\n%s", what, diff)
	}
}

func TestSameLogSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := machinetest.Log(t)
		first, second := newRun(), newRun()
		first.applyAll(t, log)
		second.applyAll(t, log)
		requireEqual(t, "the second run over the same log", second, first)
	})
}

func TestReplayFromAnyMessageEqualsUninterrupted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := machinetest.Log(t)
		whole := newRun()
		var forks []*run
		for _, msg := range log {
			forks = append(forks, whole.fork())
			whole.applyAll(t, []machine.Message{msg})
		}
		for i, fork := range forks {
			fork.applyAll(t, log[i:])
			requireEqual(t, fmt.Sprintf("replay from message %d", i+1), fork, whole)
		}
	})
}

// A checkpoint writes users that the machine goes on deriving from: a user that was put must never change, not even
// in what two of its successors would share.
func TestStoredUsersAreImmutable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun()
		var before []*machinetest.Memory
		var dumps []string
		for _, msg := range machinetest.Log(t) {
			r.applyAll(t, []machine.Message{msg})
			before, dumps = append(before, r.store.Clone()), append(dumps, r.store.Dump())
			fork := r.fork()
			fork.applyAll(t, []machine.Message{otherEnd(t, msg)})
			before, dumps = append(before, fork.store), append(dumps, fork.store.Dump())
		}
		for i := range before {
			if got := before[i].Dump(); got != dumps[i] {
				t.Fatalf("the state after message %d changed afterwards:\n%s", i/2+1, cmp.Diff(dumps[i], got))
			}
		}
	})
}

// otherEnd is a message after msg that no log continues with: it changes everything there can be.
func otherEnd(t *rapid.T, msg machine.Message) machine.Message {
	var records []record.Record
	for _, u := range machinetest.Users {
		r := record.Record{Kind: record.Trigger, Account: []byte(u[0]), User: []byte(u[1]), Redirect: true, HasModule: true, Module: 99}
		r.Wait = rapid.Int64Range(0, 2).Draw(t, "wait") * 1000
		r.Vars = []record.Var{{Name: []byte("a"), Value: []byte("99")}}
		records = append(records, r, r)
	}
	return machinetest.Message(msg.Seq+1, msg.Time, record.Batch{Writer: "other", Time: msg.Time}, records...)
}

// The connection reuses its buffers as soon as Apply has returned.
func TestPayloadMayBeOverwrittenAfterApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := machinetest.Log(t)
		want, got := newRun(), newRun()
		for _, msg := range log {
			want.applyAll(t, []machine.Message{msg})
			msg.Payload = bytes.Clone(msg.Payload)
			got.applyAll(t, []machine.Message{msg})
			for i := range msg.Payload {
				msg.Payload[i] = '#'
			}
		}
		requireEqual(t, "with the payloads overwritten", got, want)
	})
}

func TestTicksTwiceEqualsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		once, twice := newRun(), newRun()
		seq := uint64(0)
		for _, msg := range machinetest.Log(t) {
			seq += 2
			msg.Seq = seq
			once.applyAll(t, []machine.Message{msg})
			twice.applyAll(t, []machine.Message{msg})
			tick := machinetest.Message(seq+1, msg.Time, record.Batch{Writer: "worker-1", Time: msg.Time}, record.Record{Kind: record.Tick})
			once.applyAll(t, []machine.Message{tick})
			twice.applyAll(t, []machine.Message{tick})
			tick.Seq++
			before := twice.dump()
			twice.applyAll(t, []machine.Message{tick})
			if got := twice.dump(); withoutApplied(got) != withoutApplied(before) {
				t.Fatalf("the second tick did something:\n%s", cmp.Diff(before, got))
			}
			seq++
		}
		if got, want := withoutApplied(twice.dump()), withoutApplied(once.dump()); got != want {
			t.Fatalf("doubled ticks differ:\n%s", cmp.Diff(want, got))
		}
	})
}

// withoutApplied cuts the sequence out of a dump's first line.
func withoutApplied(dump string) string {
	_, rest, _ := strings.Cut(dump, " time=")
	return rest
}

// Appending every numbered batch once more, right away or much later, changes no user and emits nothing.
func TestCopiesOfBatchesHaveNoEffect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun()
		seq := uint64(0)
		var last machine.Message
		for _, msg := range machinetest.Log(t) {
			seq++
			msg.Seq = seq
			r.applyAll(t, []machine.Message{msg})
			if b, err := record.ParseBatch(msg.Header, msg.Payload); err != nil || b.Number == 0 {
				continue
			}
			if last.Header == nil || rapid.Bool().Draw(t, "newer") {
				last = msg
			}
			seq++
			events := len(r.events)
			msg.Seq = seq
			result, err := r.apply(msg)
			if err != nil || !result.SkippedBatch || len(r.events) != events {
				t.Fatalf("copy of message %d: %+v, %v, %d events", seq-1, result, err, len(r.events)-events)
			}
		}
	})
}

// checkInvariants compares what is stored twice with each other.
func checkInvariants(t *rapid.T, r *run) {
	dump, head := r.store.Dump(), r.Head()
	if got := uint64(strings.Count("\n"+dump, "\nuser ")); got != head.Users {
		t.Fatalf("%d users stored, head counts %d", got, head.Users)
	}
	if got := uint64(strings.Count("\n"+dump, "\ndue ")); got != head.Pending {
		t.Fatalf("%d due entries stored, head counts %d", got, head.Pending)
	}
	if got := uint64(strings.Count(dump, "\n\tpending ")); got != head.Pending {
		t.Fatalf("users know of %d redirects, head counts %d", got, head.Pending)
	}
	if uint64(len(r.events)) != head.Events {
		t.Fatalf("%d events, head counts %d", len(r.events), head.Events)
	}
	for i, e := range r.events {
		if !strings.HasPrefix(e, fmt.Sprintf("%d {", i+1)) {
			t.Fatalf("event %d has another number: %s", i+1, e)
		}
	}
	if d, _, _, ok, _ := r.store.NextDue(); ok && d.At <= head.StreamTime {
		t.Fatalf("%+v is due at %d and did not fire", d, head.StreamTime)
	}
}

func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun()
		ids := make(map[string]bool)
		for _, msg := range machinetest.Log(t) {
			before := r.Head()
			r.applyAll(t, []machine.Message{msg})
			checkInvariants(t, r)
			if now := r.Head().StreamTime; now < before.StreamTime || now > max(before.StreamTime, msg.Time) {
				t.Fatalf("stream time went from %d to %d at a message of %d", before.StreamTime, now, msg.Time)
			}
		}
		for _, e := range r.events {
			_, rest, _ := strings.Cut(e, `"id":"`)
			id, _, _ := strings.Cut(rest, `"`)
			if ids[id] {
				t.Fatalf("two events have the id %s", id)
			}
			ids[id] = true
		}
	})
}

// Each user's records, woven with those of others in any way and packed in any way, do what they do
// alone.
func TestAnyInterleavingKeepsTheOrderOfEachUser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		users := []string{"ann", "bob", "cid"}
		queues := make(map[string][]record.Record)
		for _, u := range users {
			queues[u] = drawQueue(t, u)
		}
		woven := newRun()
		woven.applyAll(t, pack(t, weave(t, users, queues)))
		for _, u := range users {
			alone := newRun()
			alone.applyAll(t, pack(t, queues[u]))
			if got, want := story(woven, u), story(alone, u); got != want {
				t.Fatalf("%s's state differs:\n%s", u, cmp.Diff(want, got))
			}
		}
	})
}

// drawQueue draws records of one user that count their place in a variable.
func drawQueue(t *rapid.T, user string) []record.Record {
	queue := make([]record.Record, rapid.IntRange(1, 12).Draw(t, user))
	for i := range queue {
		queue[i] = record.Record{
			Kind:    rapid.SampledFrom([]record.Kind{record.Trigger, record.Trigger, record.Register, record.Delete}).Draw(t, "kind"),
			Account: []byte("acme"), User: []byte(user),
		}
		if queue[i].Kind == record.Delete {
			continue
		}
		queue[i].Vars = []record.Var{{Name: []byte("place"), Value: fmt.Append(nil, i)}}
		queue[i].Module, queue[i].HasModule = int64(i+1), true
		if queue[i].Kind == record.Trigger {
			queue[i].Redirect = rapid.Bool().Draw(t, "redirect")
			queue[i].Wait = rapid.Int64Range(0, 3).Draw(t, "wait")
		}
	}
	return queue
}

func weave(t *rapid.T, users []string, queues map[string][]record.Record) []record.Record {
	var woven []record.Record
	next := make(map[string]int)
	for {
		left := slices.DeleteFunc(slices.Clone(users), func(u string) bool { return next[u] == len(queues[u]) })
		if len(left) == 0 {
			return woven
		}
		u := rapid.SampledFrom(left).Draw(t, "next")
		woven = append(woven, queues[u][next[u]])
		next[u]++
	}
}

// pack makes a log of the records in which no time passes until the end: the time of a
// redirect would depend on the others otherwise.
func pack(t *rapid.T, records []record.Record) []machine.Message {
	const now = 1000
	log := []machine.Message{machinetest.Configure(now, machinetest.Defaults)}
	for len(records) > 0 {
		n := rapid.IntRange(1, len(records)).Draw(t, "batch")
		log = append(log, machinetest.Message(uint64(len(log)+1), now, record.Batch{Writer: "w", Time: now}, records[:n]...))
		records = records[n:]
	}
	for range 4 {
		at := log[len(log)-1].Time + 1
		log = append(log, machinetest.Message(uint64(len(log)+1), at, record.Batch{Writer: "w", Time: at}, record.Record{Kind: record.Tick}))
	}
	return log
}

// story is a user's state without positions.
func story(r *run, user string) string {
	u, err := r.store.User([]byte("acme"), []byte(user))
	if err != nil || u == nil {
		return fmt.Sprint(u, err)
	}
	c := *u
	c.Changes = slices.Clone(c.Changes)
	for i := range c.Changes {
		c.Changes[i].ID = record.Position{}
	}
	return machinetest.DumpUser("acme", user, &c)
}
