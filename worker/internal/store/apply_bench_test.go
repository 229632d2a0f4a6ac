package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

const (
	applyRecords = 500     // a message
	applyDirty   = 20_000  // users that make a checkpoint due
	applyUsers   = 100_000 // in the file
)

// applier applies a log to a Store that is checkpointed in the background, as a partition does.
type applier struct {
	b       *testing.B
	store   *Store
	machine *machine.Machine
	done    chan error // of the commit that runs
	commits int
}

func (a *applier) apply(msg machine.Message) {
	if _, err := a.machine.Apply(msg, func(*machine.Event) {}); err != nil {
		a.b.Fatal(err)
	}
	if users, _ := a.store.Dirty(); users >= applyDirty {
		a.wait()
		a.store.Freeze(checkpointAt(a.machine.Head()))
		a.done = make(chan error, 1)
		a.commits++
		go func() { a.done <- a.store.Commit() }()
		return
	}
	select {
	case err := <-a.done:
		a.release(err)
	default:
	}
}

func (a *applier) wait() {
	if a.done != nil {
		a.release(<-a.done)
	}
}

func (a *applier) release(err error) {
	if err != nil {
		a.b.Fatal(err)
	}
	a.store.Release()
	a.done = nil
}

// applyMessage is a full batch about users drawn among the first of all.
func applyMessage(seq uint64, kind record.Kind, user func(i int) int) machine.Message {
	records := make([]record.Record, applyRecords)
	for i := range records {
		n := int(seq)*applyRecords + i
		records[i] = record.Record{
			Kind: kind, Account: benchAccount, User: benchKey(user(i)), Bot: []byte("shop"), Module: int64(n%100 + 1), HasModule: true,
			Redirect: kind == record.Trigger, Vars: []record.Var{
				{Name: []byte("order_id"), Value: fmt.Appendf(nil, `"A-%09d"`, n)},
				{Name: []byte("paid"), Value: []byte("true")},
				{Name: []byte("amount"), Value: fmt.Append(nil, n)},
			},
		}
	}
	at := 1_767_225_600_000 + int64(seq)*10
	return machinetest.Message(seq, at, record.Batch{Writer: "writer", Number: seq, Time: at}, records...)
}

// BenchmarkApply is what a partition does with a stored log, but for reading and emitting: the machine, the overlay, and
// the checkpoints beside it. The unit is a record.
func BenchmarkApply(b *testing.B) {
	source := rand.New(rand.NewPCG(1, 2))
	skewed := rand.NewZipf(source, 1.2, 100, applyUsers-1)
	for _, bench := range []struct {
		name string
		user func(int) int
	}{
		{"users=100", func(int) int { return source.IntN(100) }},
		{"users=20000", func(int) int { return source.IntN(20_000) }},
		{"users=100000/skewed", func(int) int { return int(skewed.Uint64()) }},
		{"users=100000/even", func(int) int { return source.IntN(applyUsers) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			a := newApplier(b)
			msgs := make([]machine.Message, 400)
			for i := range msgs {
				msgs[i] = applyMessage(uint64(i+1), record.Trigger, bench.user)
			}
			seq := a.machine.Head().Applied
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += applyRecords {
				seq++
				a.apply(renumber(msgs[int(seq)%len(msgs)], seq))
			}
			a.wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(a.commits), "commits")
		})
	}
}

// renumber lets a message stand at another place of the log.
func renumber(msg machine.Message, seq uint64) machine.Message {
	msg.Seq, msg.Time = seq, 1_767_225_600_000+int64(seq)*10
	batch := record.Batch{Writer: "writer", Number: seq, Time: msg.Time, Count: applyRecords}
	msg.Header = batch.Header()
	return msg
}

// newApplier has all users in the file.
func newApplier(b *testing.B) *applier {
	a := &applier{b: b, store: benchStore(b, 0)}
	a.machine = machine.New(7, machine.Head{}, a.store)
	a.apply(machinetest.Configure(1_767_225_600_000, machinetest.Defaults))
	for u := 0; u < applyUsers; u += applyRecords {
		a.apply(applyMessage(a.machine.Head().Applied+1, record.Register, func(i int) int { return u + i }))
	}
	a.wait()
	mustCommit(b, a.store, a.machine.Head())
	a.commits = 0
	return a
}
