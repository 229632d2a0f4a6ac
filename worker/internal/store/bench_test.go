package store

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// benchUser is a conversation as most are: some variables, the last ten changes.
func benchUser(n int) *machine.User {
	u := &machine.User{Bot: "shop", Module: 1068935, HasModule: true, Version: uint64(n), UpdatedAt: 1_767_225_600_000 + int64(n)}
	for _, name := range []string{"amount", "currency", "email", "order_id", "paid"} {
		v := machine.Var{Name: name, Value: []byte(`"a value of ` + name + `"`)}
		u.Vars = append(u.Vars, v)
		u.VarBytes += int64(len(v.Name) + len(v.Value))
	}
	for i := range machine.KeptChanges {
		u.Changes = append(u.Changes, machine.Change{
			ID: record.Position{Seq: uint64(1000*n + i), Index: uint32(i)}, At: u.UpdatedAt - 1000*int64(10-i),
			ModuleBefore: 1068935, ModuleAfter: 1068935, Variables: []string{"amount", "paid"},
		})
	}
	return u
}

var benchAccount = []byte("demo")

func benchKey(n int) []byte { return fmt.Appendf(nil, "user-%08d", n) }

// benchStore is a file with users in it.
func benchStore(b *testing.B, count int) *Store {
	b.Helper()
	s := mustOpen(b, filepath.Join(b.TempDir(), "p.db"), testOptions())
	s.file.db.NoSync = false
	b.Cleanup(func() { mustClose(b, s) })
	for i := range count {
		s.PutUser(benchAccount, benchKey(i), benchUser(i))
		if i%50_000 == 49_999 || i == count-1 {
			mustCommit(b, s, machine.Head{Applied: uint64(i + 1)})
		}
	}
	return s
}

func benchKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	return keys
}

// BenchmarkApplyPath is what the machine asks of the Store for one record: look up a user, put a new version.
func BenchmarkApplyPath(b *testing.B) {
	for _, bench := range []struct {
		name        string
		users, from int // of them, how many are touched
	}{{"hot", 20_000, 1000}, {"spread", 20_000, 20_000}} {
		b.Run(bench.name, func(b *testing.B) {
			s := benchStore(b, bench.users)
			keys, order := benchKeys(bench.users), rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				key := keys[order.IntN(bench.from)]
				u, err := s.User(benchAccount, key)
				if err != nil || u == nil {
					b.Fatal(u, err)
				}
				s.PutUser(benchAccount, key, u)
			}
		})
	}
}

// BenchmarkReadUser is a user who is only in the file.
func BenchmarkReadUser(b *testing.B) {
	for _, committing := range []bool{false, true} {
		b.Run(fmt.Sprintf("committing=%t", committing), func(b *testing.B) {
			s := benchStore(b, 20_000)
			s.cache = cache{}
			s.file.setCommitting(committing)
			keys, order := benchKeys(20_000), rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				if u, err := s.User(benchAccount, keys[order.IntN(len(keys))]); err != nil || u == nil {
					b.Fatal(u, err)
				}
			}
		})
	}
}

// BenchmarkCommit commits users drawn evenly from all; the unit is a commit.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []struct{ dirty, users int }{{5_000, 10_000}, {50_000, 100_000}} {
		b.Run(fmt.Sprintf("dirty=%d/users=%d", size.dirty, size.users), func(b *testing.B) {
			if testing.Short() && size.users > 10_000 {
				b.Skip("large: not with -short")
			}
			s := benchStore(b, size.users)
			order, seq := rand.New(rand.NewPCG(1, 2)), uint64(size.users)
			for b.Loop() {
				b.StopTimer()
				for _, n := range order.Perm(size.users)[:size.dirty] {
					s.PutUser(benchAccount, benchKey(n), benchUser(n+int(seq)))
				}
				seq++
				b.StartTimer()
				mustCommit(b, s, machine.Head{Applied: seq})
			}
			b.ReportMetric(float64(size.dirty)*float64(b.N)/b.Elapsed().Seconds(), "users/s")
		})
	}
}

func BenchmarkNextDueNothing(b *testing.B) {
	s := benchStore(b, 1)
	s.PutDue(machine.Due{At: 1 << 50, Position: record.Position{Seq: 1}}, benchAccount, benchKey(1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok, err := s.NextDue(); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkFire is one of many redirects that are due: asked for, deleted. Half of them are in the file.
func BenchmarkFire(b *testing.B) {
	s := benchStore(b, 1)
	put := func(n int) {
		s.PutDue(machine.Due{At: int64(n), Position: record.Position{Seq: uint64(n)}}, benchAccount, benchKey(n))
	}
	const count = 20_000
	seq := uint64(10)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += count {
		b.StopTimer()
		for n := 0; n < count; n += 2 {
			put(n)
		}
		seq++
		mustCommit(b, s, machine.Head{Applied: seq})
		for n := 1; n < count; n += 2 {
			put(n)
		}
		b.StartTimer()
		for n := range count {
			d, _, _, ok, err := s.NextDue()
			if !ok || err != nil || d.At != int64(n) {
				b.Fatal(n, d, ok, err)
			}
			s.DeleteDue(d)
		}
		b.StopTimer()
		seq++
		mustCommit(b, s, machine.Head{Applied: seq})
		b.StartTimer()
	}
}

func BenchmarkPutOutcomes(b *testing.B) {
	outs := make([]machine.Outcome, 100)
	for i := range outs {
		outs[i] = machine.Outcome{Position: record.Position{Index: uint32(i)}, Kind: record.Trigger, Account: "demo",
			User: "user-00000001", Status: machine.Redirected, AcceptedAt: 1_767_225_600_000, AppliedAt: 1_767_225_600_000, UserVersion: 7}
	}
	g := newGeneration(0)
	b.ReportAllocs()
	for b.Loop() {
		g.seal(1, []byte("12345678"), outs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(outs)), "ns/outcome")
}

func BenchmarkUserCodec(b *testing.B) {
	u := benchUser(1)
	buf := appendUser(nil, u)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = appendUser(buf[:0], u)
		}
		b.ReportMetric(float64(len(buf)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeUser(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
