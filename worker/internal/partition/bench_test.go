package partition

import (
	"fmt"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// BenchmarkApplyStored replays a stored log of 200 000 triggers into an empty file: reading, judging, rendering and emitting events,
// checkpoints. b.N is the number of replays. Batches are as large as under a heavy load, and as small as under a light one.
func BenchmarkApplyStored(b *testing.B) {
	for _, size := range []int{500, 20} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) { benchmarkApply(b, size) })
	}
}

func benchmarkApply(b *testing.B, size int) {
	const users, triggers = 10_000, 200_000
	r := newRig(b)
	var batch []record.Record
	for i := range users {
		if batch = append(batch, register(fmt.Sprintf("user-%d", i))); len(batch) == size {
			r.append(batch...)
			batch = batch[:0]
		}
	}
	for i := range triggers {
		if batch = append(batch, trigger(fmt.Sprintf("user-%d", i*7919%users), i, 0)); len(batch) == size {
			r.append(batch...)
			batch = batch[:0]
		}
	}
	last, records := r.last(), users+triggers
	var spent time.Duration
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		x := r.start(r.file(), func(c *Config, d *Deps) { c.CheckpointEvery, d.Logger = 2*time.Second, nil })
		b.StartTimer()
		begun := time.Now()
		x.await(last)
		spent += time.Since(begun)
		b.StopTimer()
		if err := x.drain(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records*b.N)/spent.Seconds(), "records/s")
}

// await returns as soon as seq is applied: it asks the actor, between two messages.
func (x *run) await(seq uint64) {
	x.t.Helper()
	<-x.Settled()
	for x.Status().Applied < seq {
		x.digest()
	}
}
