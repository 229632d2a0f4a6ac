package partition

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// BenchmarkSnapshots makes snapshots of 1 M users with the default settings, on a synced broker in the same process, and restores one. Rounds
// alternate between applying alone and applying while a snapshot is made, from its beginning to its end, so that their rates can be compared.
//
//	go test ./worker/internal/partition -run XXX -bench Snapshots -benchtime 1x -timeout 30m
func BenchmarkSnapshots(b *testing.B) {
	const users, triggers, rounds = 1_000_000, 100_000, 3
	r := &rig{t: b, srv: natstest.Start(b)}
	r.broker = r.connect(r.srv.URL())
	r.appendMany(users, func(i int) record.Record { return register(fmt.Sprintf("user-%d", i)) })
	x := r.start(r.file(), func(c *Config, d *Deps) { c.CheckpointEvery, c.CheckpointUsers, d.Logger = 0, 0, nil })
	<-x.Settled()
	x.reached(r.last())
	var alone, beside, making time.Duration
	var many float64 // rounds beside
	b.ResetTimer()
	for range b.N {
		for range rounds {
			made := make(chan time.Duration, 1)
			go func() { made <- make1(b, x.shelf, r.store(x)) }()
			for running := true; running; many++ {
				beside += r.applying(x, users, triggers)
				select {
				case spent := <-made:
					making, running = making+spent, false
				default:
				}
			}
			for range 10 {
				alone += r.applying(x, users, triggers)
			}
		}
	}
	b.StopTimer()
	n := float64(b.N * rounds)
	entries, err := x.shelf.List(r.ctx())
	if err != nil {
		b.Fatal(err)
	}
	e, begun := entries[0], time.Now()
	if err := r.shelf(b).Restore(context.Background(), e); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(begun).Seconds(), "s/restore")
	b.ReportMetric(making.Seconds()/n, "s/make-beside-applying")
	b.ReportMetric(float64(e.Bytes)/(1<<20), "MiB-file")
	b.ReportMetric(float64(e.CompressedBytes)/(1<<20), "MiB-compressed")
	b.ReportMetric(triggers*10*n/alone.Seconds(), "records/s-alone")
	b.ReportMetric(triggers*many/beside.Seconds(), "records/s-beside")
	b.ReportMetric(many/beside.Seconds()/(10*n/alone.Seconds()), "ratio")
}

func (r *rig) appendMany(n int, record1 func(i int) record.Record) {
	var batch []record.Record
	for i := range n {
		if batch = append(batch, record1(i)); len(batch) == 1000 || i == n-1 {
			r.append(batch...)
			batch = batch[:0]
		}
	}
}

func (r *rig) store(x *run) *store.Store {
	got := make(chan *store.Store)
	x.calls <- func(a *actor) { got <- a.store }
	return <-got
}

// applying holds the partition while triggers of users all over the file are appended, and measures how long it takes to apply them.
func (r *rig) applying(x *run, users, n int) time.Duration {
	hold, held := make(chan struct{}), make(chan struct{})
	go func() { x.calls <- func(*actor) { close(held); <-hold } }()
	<-held
	r.appendMany(n, func(i int) record.Record { return trigger(fmt.Sprintf("user-%d", i*7919%users), i, 0) })
	last := r.last()
	begun := time.Now()
	close(hold)
	x.reached(last)
	return time.Since(begun)
}

// reached looks now and then, so as not to take part in what is measured.
func (x *run) reached(seq uint64) {
	x.t.Helper()
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for x.Status().Applied < seq {
		<-t.C
	}
}

func make1(b *testing.B, shelf *snapshot.Shelf, st *store.Store) time.Duration {
	begun := time.Now()
	if _, err := shelf.Make(context.Background(), st, nil); err != nil {
		b.Error(err)
	}
	return time.Since(begun)
}

// shelf has a file of its own.
func (r *rig) shelf(b *testing.B) *snapshot.Shelf {
	return snapshot.New(snapshot.Config{}, snapshot.Deps{Broker: r.broker}).Of(0, r.file())
}
