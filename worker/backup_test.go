package worker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// streamsInOrder are those of a backup, in the order of the procedure in deploy/BACKUP.md: what a stream says must be borne out by those after it.
func streamsInOrder() (names []string) {
	names = []string{"KV_" + broker.BucketDeployment, "KV_" + broker.BucketModules, "KV_" + broker.BucketLimits, "KV_" + broker.BucketControl, "KV_" + broker.BucketRevoked, "KV_" + broker.BucketSnapshots,
		"OBJ_" + broker.StoreSnapshots}
	for p := range shares {
		names = append(names, broker.EventsStream(p))
	}
	for p := range shares {
		names = append(names, broker.TriggersStream(p))
	}
	return names
}

// backups are those of a deployment, and what inspect said before they began and after they were made.
type backups struct {
	before, after []row
	streams       []natstest.Backup
}

// backUp does what deploy/BACKUP.md says, while everything runs. between is called after each stream.
func (f *fleet) backUp(between func(stream string)) (b backups) {
	f.t.Helper()
	b.before = f.inspect()
	for _, name := range streamsInOrder() {
		b.streams = append(b.streams, f.copyOf(name))
		between(name)
	}
	b.after = f.inspect()
	return b
}

// copyOf backs up one stream: a bucket again and again until nobody has written to it meanwhile.
func (f *fleet) copyOf(name string) (b natstest.Backup) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		b = natstest.TakeBackup(f.t, f.broker.Conn, name)
		return !strings.HasPrefix(name, "KV_") || b.LastSeq(f.t) == f.lastOf(name)
	}, "nobody writes to %s while it is copied", name)
	return b
}

// lastOf is the last sequence of a stream.
func (f *fleet) lastOf(name string) uint64 {
	f.t.Helper()
	stream, err := f.broker.JS.Stream(f.ctx(), name) // which asks for it
	if err != nil {
		f.t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// complete is the check at the end: even now no log begins after the snapshot that there was at the beginning, so whatever snapshots the backup holds, one fits.
func (b *backups) complete(t *testing.T) bool {
	t.Helper()
	for p, r := range b.before {
		if first := b.after[p].First; first == 0 || first > max(r.SnapshotSeq, 1) {
			t.Logf("the log of partition %d begins at %d, its snapshot was at %d", p, first, r.SnapshotSeq)
			return false
		}
	}
	return true
}

// restore makes a deployment of backups, with an empty server and workers that have nothing.
func (b *backups) restore(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, srv: natstest.Start(t, natstest.Lazy()), dir: t.TempDir(), stop: func() {}}
	conn := f.srv.Connect()
	for _, s := range b.streams {
		s.Restore(t, conn)
	}
	f.broker = f.connect(f.srv.URL())
	return f
}

// sendPlain appends a batch of triggers without delays, so that nothing but what is appended moves the log. It returns the ids.
func (f *fleet) sendPlain(p int, number uint64) (ids []string) {
	f.t.Helper()
	b := record.Batch{Writer: fmt.Sprintf("plainwriter%d", p), Number: number, Time: time.Now().UnixMilli(), Count: 5}
	for i := range b.Count {
		r := fleetRecord(p, number, i)
		r.Wait = 0
		b.Payload = r.AppendTo(b.Payload)
		if i < b.Count-1 {
			b.Payload = append(b.Payload, '\n')
		}
	}
	ack, err := f.broker.JS.PublishMsg(f.ctx(), &nats.Msg{Subject: broker.TriggersSubject(p), Header: b.Header(), Data: b.Payload})
	if err != nil {
		f.t.Errorf("append: %v", err)
		return nil
	}
	for i := range b.Count {
		ids = append(ids, record.ID{Partition: p, Position: record.Position{Seq: ack.Sequence, Index: uint32(i)}}.String())
	}
	return ids
}

// accepted are the ids of a partition's triggers, in the order of the log.
type accepted struct {
	mu  sync.Mutex
	ids []string
}

func (a *accepted) add(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, ids...)
}

func (a *accepted) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ids)
}

// loadPlain appends to every partition until stop is called, which returns the number of the last batch.
func (f *fleet) loadPlain(to []accepted) (stop func() uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	number := uint64(0)
	wg.Go(func() {
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			number++
			for p := range shares {
				to[p].add(f.sendPlain(p, number))
			}
			<-pace.C
		}
	})
	f.t.Cleanup(func() { cancel(); wg.Wait() })
	return func() uint64 { cancel(); wg.Wait(); return number }
}

// often makes snapshots as often as can be set.
func often(c *Config) { c.SnapshotEvery, c.SnapshotRate = time.Second, 1<<30 }

// snapshotted waits until every partition has a snapshot beyond those, and is trimmed.
func (f *fleet) snapshotted(than []row) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		for p, r := range f.inspect() {
			if r.SnapshotSeq <= than[p].SnapshotSeq || r.First <= than[p].First {
				return false
			}
		}
		return true
	}, "there is a new snapshot of each partition, and its log is trimmed: %v", f)
}

// A deployment that is backed up while it runs, under load, with snapshots made and logs trimmed all the while, comes back in an empty server, with
// workers that have nothing: all that was accepted before the backup began is there, the events are those of the old deployment as far as its log goes,
// and after the logs are adopted no id is given a second time.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.change = often
	a, b := f.start("a"), f.start("b")
	f.settled(a, b)
	accepted := make([]accepted, shares)
	stop := f.loadPlain(accepted)
	f.snapshotted(make([]row, shares))
	begun := make([]int, shares)
	var copies backups
	for done := false; !done; done = copies.complete(t) {
		for p := range shares {
			begun[p] = len(accepted[p].all())
		}
		copies = f.backUp(func(string) {})
	}
	number := stop()
	f.done()

	g := copies.restore(t)
	g.change = often
	c, d := g.start("c"), g.start("d")
	g.settled(c, d)
	for p := range shares {
		g.isPrefixOf(f, p, accepted[p].all()[:begun[p]])
	}
	for p := range shares {
		handedOut := f.last(p)
		g.typed(0, "pause", "-partition", strconv.Itoa(p))
		g.typed(0, "adopt", "-partition", strconv.Itoa(p), "-data-dir", t.TempDir(), "-seen", fmt.Sprint(handedOut), "-margin", "10")
		ids := g.sendPlain(p, number+1)
		if id, err := record.ParseID(ids[0]); err != nil || id.Position.Seq <= handedOut {
			t.Errorf("partition %d gives %s, and %d was handed out", p, ids[0], handedOut)
		}
	}
	g.settled(c, d)
	g.done()
}

// done waits until all that is in the logs is applied and emitted, and nothing is wrong.
func (f *fleet) done() {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		for p, r := range f.inspect() {
			if r.Applied != f.last(p) || r.Emitted != r.Events || len(r.Faults) > 0 {
				return false
			}
		}
		return true
	}, "all is applied and emitted, and nothing is wrong: %v", f)
}

// isPrefixOf holds the restored events of a partition to those of the old deployment, and to what was accepted before the backup.
func (g *fleet) isPrefixOf(old *fleet, p int, accepted []string) {
	g.t.Helper()
	natstest.Eventually(g.t, func() bool { r := g.inspect()[p]; return r.Applied == g.last(p) && r.Emitted == r.Events }, "partition %d is done: %v", p, g)
	got, want := g.emitted(p), old.emitted(p)
	if len(got) > len(want) || strings.Join(got, "\n") != strings.Join(want[:len(got)], "\n") {
		g.t.Errorf("partition %d: %d events are not the first of the old %d", p, len(got), len(want))
	}
	all := strings.Join(got, "\n")
	for _, id := range accepted {
		if pos, err := record.ParseID(id); err != nil || pos.Position.Seq > g.last(p) {
			g.t.Fatalf("partition %d: %s was accepted and is not in the log, which ends at %d", p, id, g.last(p))
		}
	}
	if last := accepted[len(accepted)-1]; !strings.Contains(all, `"id":"`+last+`"`) {
		g.t.Errorf("partition %d: there is no event of %s, which was accepted before the backup", p, last)
	}
	g.t.Logf("partition %d: %d triggers before the backup, %d events restored, %d in the old deployment", p, len(accepted), len(got), len(want))
}

// When snapshots are made and logs are trimmed twice during a backup, nothing in it may fit together. The check says so; who restores it nevertheless has
// partitions that halt, not ones that begin with nothing.
func TestBackupThatIsTooSlow(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.change = often
	a := f.start("a")
	f.settled(a)
	number := uint64(0)
	load := func() {
		for range 20 {
			number++
			for p := range shares {
				f.sendPlain(p, number)
			}
		}
	}
	load()
	f.snapshotted(make([]row, shares))
	slowAfter := func(slow string) backups {
		return f.backUp(func(stream string) {
			if stream != slow {
				return
			}
			for range 3 {
				before := f.inspect()
				load()
				f.snapshotted(before)
			}
		})
	}
	copies := slowAfter(broker.EventsStream(shares - 1))
	if copies.complete(t) {
		t.Error("the check finds nothing wrong")
	}
	// The check looks at the logs as they are at the end. When they were trimmed, before their copies were done or right after, it cannot tell.
	if atTheEnd := slowAfter(broker.TriggersStream(shares - 1)); atTheEnd.complete(t) {
		t.Error("the check finds nothing wrong with logs that were trimmed since")
	}
	g := copies.restore(t)
	c := g.start("c")
	<-c.Ready()
	natstest.Eventually(t, func() bool {
		return !slices.ContainsFunc(g.inspect(), func(r row) bool { return r.State != "halted" })
	}, "every partition is halted: %v", g)
}

// A bucket holds only the last value of a key, and a server copies what the bucket held when the copy began, if it is still there: the copy of one that is written to
// meanwhile lacks the key that was written. The procedure has no such copy.
func TestBackupOfBucketInUse(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	bucket, err := f.broker.JS.KeyValue(f.ctx(), broker.BucketSnapshots)
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) {
		if _, err := bucket.PutString(f.ctx(), strconv.Itoa(n%shares), strconv.Itoa(n)); err != nil {
			t.Error(err)
		}
	}
	for n := range shares {
		put(n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := shares; ctx.Err() == nil; n++ {
			begun := time.Now()
			put(n)
			select { // long enough for a copy in between, also on a slow machine
			case <-time.After(8 * time.Since(begun)):
			case <-ctx.Done():
			}
		}
	})
	defer wg.Wait()
	defer cancel()
	name := "KV_" + broker.BucketSnapshots
	for i := range 300 {
		copied := f.copyOf(name)
		for p := range shares {
			if subject := fmt.Sprintf("$KV.%s.%d", broker.BucketSnapshots, p); !copied.Has(t, subject) {
				t.Fatalf("copy %d is without %s: %s", i, subject, copied.State)
			}
		}
	}
}
