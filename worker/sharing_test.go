package worker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// Workers come and go in the middle of a burst.
func TestWorkersComeAndGo(t *testing.T) {
	f := newFleet(t)
	f.load()
	a := f.start("a")
	f.settled(a)
	b, c, d := f.start("b"), f.start("c"), f.start("d")
	f.settled(a, b, c, d)
	var wg sync.WaitGroup
	wg.Go(a.drain)
	wg.Go(c.drain)
	wg.Wait()
	f.settled(b, d)
	b.drain()
	f.settled(d)
	a = f.start("a") // its files are old by now
	f.settled(a, d)
	f.audit(a, d)
	if problems, err := testutil.GatherAndLint(d.reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	for _, m := range []*mate{a, d} { // what another one owns is not shown
		if n, err := testutil.GatherAndCount(m.reg, "triggerd_worker_lag_records"); err != nil || n != 2 {
			t.Errorf("%d series of lag, %v", n, err)
		}
	}
}

// Whether a worker comes or is told to stop, a partition is let go only when its next owner serves it: at no time does nobody serve.
func TestPlannedMovesLeaveNoGap(t *testing.T) {
	f := newFleet(t)
	for n := range uint64(300) { // so that a newcomer has something to catch up with
		for p := range shares {
			f.send(p, n+1)
		}
	}
	a := f.start("a")
	f.settled(a)
	watch := f.watchGaps(a)
	b := f.start("b")
	watch.add(b)
	f.settled(a, b)
	a.drain()
	f.settled(b)
	watch.end()
}

// gaps looks all the while for partitions that nobody serves.
type gaps struct {
	mu    sync.Mutex
	mates []*mate
	end   func()
}

func (f *fleet) watchGaps(mates ...*mate) *gaps {
	g := &gaps{mates: mates}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			default:
			}
			for p := range shares {
				if !g.served(p) {
					f.t.Errorf("look %d: nobody serves partition %d", n, p)
					return
				}
			}
			runtime.Gosched()
		}
	})
	g.end = sync.OnceFunc(func() { close(ended); wg.Wait() })
	f.t.Cleanup(g.end)
	return g
}

func (g *gaps) add(m *mate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mates = append(g.mates, m)
}

// served looks at those first who may let go, because the next owner serves before that.
func (g *gaps) served(p int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.mates {
		for _, h := range m.all() {
			if s := h.Status(); s.Partition == p && s.State == "serving" {
				return true
			}
		}
	}
	return false
}

// A worker vanishes without a word; its directory is used again later.
func TestWorkerVanishes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	px := f.srv.Proxy()
	a, b := f.start("a"), f.startVia("b", px.URL())
	f.settled(a, b)
	f.load()
	f.moves(a, b)
	px.Refuse(true)
	px.Cut()
	f.settled(a)
	b.drain() // it goes on for itself until then, and hears nothing
	f.moves(a)
	b = f.start("b")
	f.settled(a, b)
	f.audit(a, b)
}

// A worker is frozen for longer than the TTL, loses its partitions, and goes on where it was. What it emits late is refused.
func TestFrozenWorkerComesBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	px := f.srv.Proxy()
	a, b := f.start("a"), f.startVia("b", px.URL())
	f.settled(a, b)
	f.load()
	f.moves(a, b)
	px.Hold()
	f.settled(a)
	f.moves(a)
	px.Release()
	natstest.Eventually(t, func() bool { return sum(t, b, "triggerd_worker_emission_conflicts_total") > 0 }, "late events are refused")
	f.settled(a, b)
	f.moves(a, b)
	f.audit(a, b)
}

// moves waits until all partitions have applied something more.
func (f *fleet) moves(mates ...*mate) {
	f.t.Helper()
	for p := range shares {
		last := f.last(p)
		natstest.Eventually(f.t, func() bool {
			for _, m := range mates {
				for _, h := range m.all() {
					if s := h.Status(); s.Partition == p && s.Applied > last+10 {
						return true
					}
				}
			}
			return false
		}, "partition %d moves on", p)
	}
}

// sum adds up a counter over its series.
func sum(t *testing.T, m *mate, name string) (total float64) {
	t.Helper()
	families, err := m.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, s := range f.GetMetric() {
				total += s.GetCounter().GetValue()
			}
		}
	}
	return total
}

// A partition that halts here is tried by another worker, and the others stay.
func TestHaltedPartitionIsTriedElsewhere(t *testing.T) {
	f := newFleet(t)
	file := filepath.Join(f.dir, "a", "worker", "partition-1.db")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	newerFile(t, file)
	a := f.start("a")
	<-a.Ready()
	if s := a.all()[1].Status(); s.State != "halted" {
		t.Fatalf("partition is %+v", s)
	}
	b := f.start("b")
	natstest.Eventually(t, func() bool {
		for _, h := range b.all() {
			if s := h.Status(); s.Partition == 1 && s.State == "serving" {
				return a.owner(1) == b.id()
			}
		}
		return false
	}, "the other worker serves what halted here")
	if _, err := a.check(1); err != nil {
		t.Errorf("it is not this one's fault any more, but: %v", err)
	}
	if n, err := testutil.GatherAndCount(a.reg, "triggerd_worker_halted"); err != nil || n < 1 {
		t.Errorf("that it halted is not shown: %d, %v", n, err)
	}
	b.drain()
	natstest.Eventually(t, func() bool { _, err := a.check(1); return err != nil }, "it falls back, and stays halted")
}

// newerFile makes a file of a later format, for which a partition halts. The version stands right behind its key.
func newerFile(t *testing.T, path string) {
	t.Helper()
	s, err := store.Open(path, store.Options{})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(content, []byte("format\x01"), []byte("format\x09")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Two workers in one directory would take turns at the files.
func TestDirectoryIsLocked(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	<-a.Ready()
	w, err := New(Config{DataDir: filepath.Join(f.dir, "a")}, Deps{Broker: f.broker})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Run(context.Background()); !errors.Is(err, errInUse) {
		t.Errorf("run: %v", err)
	}
}
