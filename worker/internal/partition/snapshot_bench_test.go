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
// alternate between applying alone and applying while a snapshot is made, so that their rates can be compared.
//
//	go test ./worker/internal/partition -run XXX -bench Snapshots -benchtime 1x -timeout 30m
func BenchmarkSnapshots(b *testing.B) {
	const users, triggers, rounds = 1_000_000, 300_000, 3
	r := &rig{t: b, srv: natstest.Start(b)}
	r.broker = r.connect(r.srv.URL())
	r.appendMany(users, func(i int) record.Record { return register(fmt.Sprintf("user-%d", i)) })
	x := r.start(r.file(), func(c *Config, d *Deps) { c.CheckpointEvery, c.CheckpointUsers, d.Logger = 0, 0, nil })
	<-x.Settled()
	x.reached(r.last())
	var alone, beside, making time.Duration
	b.ResetTimer()
	for range b.N {
		for range rounds {
			alone += r.applying(x, users, triggers, nil)
			var spent time.Duration
			beside += r.applying(x, users, triggers, func(st *store.Store) { spent = make1(b, x.shelf, st) })
			making += spent
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
	b.ReportMetric(triggers*n/alone.Seconds(), "records/s-alone")
	b.ReportMetric(triggers*n/beside.Seconds(), "records/s-beside")
	b.ReportMetric(alone.Seconds()/beside.Seconds(), "ratio")
}

func (r *rig) appendMany(n int, make func(i int) record.Record) {
	var batch []record.Record
	for i := range n {
		if batch = append(batch, make(i)); len(batch) == 1000 || i == n-1 {
			r.append(batch...)
			batch = batch[:0]
		}
	}
}

// applying holds the partition while triggers of users all over the file are appended, and measures how long it takes to apply them, with something else
// going on beside it.
func (r *rig) applying(x *run, users, n int, meanwhile func(*store.Store)) time.Duration {
	hold, held := make(chan struct{}), make(chan *store.Store)
	go func() { x.calls <- func(a *actor) { held <- a.store; <-hold } }()
	st := <-held
	r.appendMany(n, func(i int) record.Record { return trigger(fmt.Sprintf("user-%d", i*7919%users), i, 0) })
	last, done := r.last(), make(chan struct{})
	begun := time.Now()
	close(hold)
	go func() {
		defer close(done)
		if meanwhile != nil {
			meanwhile(st)
		}
	}()
	x.reached(last)
	spent := time.Since(begun)
	<-done
	return spent
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
