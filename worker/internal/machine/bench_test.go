package machine_test

import (
	"fmt"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

const (
	benchUsers = 100_000 // enough that no cache of the processor holds them
	benchBatch = 500     // records a message
)

// benchStore keeps users and due entries, but no outcomes: their memory would be what is measured. Writing a user who is
// known allocates nothing.
type benchStore struct {
	*machinetest.Memory
	users map[string]**machine.User
	key   []byte
}

func newBenchStore() *benchStore {
	return &benchStore{Memory: machinetest.NewMemory(), users: make(map[string]**machine.User)}
}

func (s *benchStore) slot(account, user []byte) **machine.User {
	s.key = append(append(append(s.key[:0], account...), 0), user...)
	return s.users[string(s.key)]
}

func (s *benchStore) User(account, user []byte) (*machine.User, error) {
	if slot := s.slot(account, user); slot != nil {
		return *slot, nil
	}
	return nil, nil
}

func (s *benchStore) PutUser(account, user []byte, u *machine.User) {
	slot := s.slot(account, user)
	if slot == nil {
		slot = new(*machine.User)
		s.users[string(s.key)] = slot
	}
	*slot = u
}

func (*benchStore) PutOutcomes(int64, uint64, []machine.Outcome) {}
func (*benchStore) PutOutcome(int64, machine.Outcome)            {}
func (*benchStore) PutBatch(int64, string, uint64, uint64)       {}

// benchMachine knows benchUsers users of a few variables.
func benchMachine(b *testing.B) *machine.Machine {
	m := machine.New(partition, machine.Head{}, newBenchStore())
	apply := func(msg machine.Message) {
		if _, err := m.Apply(msg, func(*machine.Event) {}); err != nil {
			b.Fatal(err)
		}
	}
	apply(machinetest.Configure(noon, machinetest.Defaults))
	for u := 0; u < benchUsers; u += benchBatch {
		records := make([]record.Record, benchBatch)
		for i := range records {
			records[i] = benchRecord(record.Register, u+i, u)
		}
		apply(benchMessage(m.Head().Applied+1, records))
	}
	return m
}

func benchRecord(kind record.Kind, user, n int) record.Record {
	return record.Record{
		Kind: kind, Account: []byte("demo"), User: fmt.Appendf(nil, "user-%06d", user%benchUsers), Bot: []byte("shop"),
		Module: int64(n%100 + 1), HasModule: true,
		Vars: []record.Var{
			{Name: []byte("order_id"), Value: fmt.Appendf(nil, `"A-%09d"`, n)},
			{Name: []byte("paid"), Value: []byte("true")},
			{Name: []byte("amount"), Value: fmt.Append(nil, n)},
		},
	}
}

func benchMessage(seq uint64, records []record.Record) machine.Message {
	return machinetest.Message(seq, noon+int64(seq), record.Batch{Writer: "A", Number: seq, Time: noon + int64(seq)}, records...)
}

// benchLog is a ring of messages that touch the users in a scattered order.
func benchLog(change func(*record.Record)) []machine.Message {
	log := make([]machine.Message, 2*benchUsers/benchBatch)
	n := 0
	for i := range log {
		records := make([]record.Record, benchBatch)
		for j := range records {
			n++
			records[j] = benchRecord(record.Trigger, n*7919, n)
			change(&records[j])
		}
		log[i] = benchMessage(1, records)
	}
	return log
}

// runBench applies b.N records.
func runBench(b *testing.B, log []machine.Message, emit func(*machine.Event)) {
	m := benchMachine(b)
	seq := m.Head().Applied
	start := m.Head().StreamTime
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		seq++
		msg := log[seq%uint64(len(log))]
		msg.Seq = seq
		msg.Time = start + int64(seq)
		batch := record.Batch{Writer: "A", Number: seq, Time: msg.Time, Count: benchBatch}
		msg.Header = batch.Header()
		if _, err := m.Apply(msg, emit); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkApply(b *testing.B) {
	drop := func(*machine.Event) {}
	var buf []byte
	b.Run("redirect", func(b *testing.B) {
		runBench(b, benchLog(func(r *record.Record) { r.Redirect = true }), drop)
	})
	b.Run("variables", func(b *testing.B) { runBench(b, benchLog(func(r *record.Record) { r.HasModule = false }), drop) })
	b.Run("delayed", func(b *testing.B) {
		runBench(b, benchLog(func(r *record.Record) { r.Redirect, r.Wait = true, 50 }), drop)
	})
	b.Run("rejected", func(b *testing.B) {
		runBench(b, benchLog(func(r *record.Record) { r.Account = []byte("other") }), drop)
	})
	b.Run("redirect-json", func(b *testing.B) {
		runBench(b, benchLog(func(r *record.Record) { r.Redirect = true }), func(e *machine.Event) { buf = e.AppendJSON(buf[:0]) })
	})
}

// BenchmarkFire fires a thousand redirects of one user with one tick, the most that the default limits let wait.
func BenchmarkFire(b *testing.B) {
	m := machine.New(partition, machine.Head{}, newBenchStore())
	records := make([]record.Record, machinetest.Defaults.MaxPending)
	for i := range records {
		records[i] = trigger("alice", 1)
	}
	tick := record.Record{Kind: record.Tick}
	apply := func(msg machine.Message) {
		if _, err := m.Apply(msg, func(*machine.Event) {}); err != nil {
			b.Fatal(err)
		}
	}
	apply(machinetest.Configure(noon, machinetest.Defaults))
	apply(benchMessage(2, []record.Record{register("alice")}))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		apply(benchMessage(m.Head().Applied+1, records))
		msg := benchMessage(m.Head().Applied+1, []record.Record{tick})
		b.StartTimer()
		apply(msg)
	}
}

func BenchmarkEventJSON(b *testing.B) {
	e := sampleEvents()[0]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}
