package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

// digests waits until a worker serves all partitions and has applied all there is, and returns a digest of each one's state.
func (f *fleet) digests(admin string) (all []string) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		all = make([]string, f.count)
		caughtUp := 0
		for _, p := range f.partitions(admin, "?digest=1") {
			if p.State == "serving" && p.DigestSeq == f.lastSeq(p.Partition) {
				all[p.Partition] = p.Digest
				caughtUp++
			}
		}
		return caughtUp == f.count
	}, "the worker to have everything")
	return all
}

// serving counts the partitions that a worker serves.
func (f *fleet) serving(w *member) (n int) {
	f.t.Helper()
	for _, p := range f.partitions(w.admin, "") {
		if p.State == "serving" {
			n++
		}
	}
	return n
}

func (f *fleet) sameDigests(admin string, want []string, what string) {
	f.t.Helper()
	got := f.digests(admin)
	for p := range want {
		if got[p] != want[p] {
			f.t.Errorf("%s: partition %d has digest %s, want %s", what, p, got[p], want[p])
		}
	}
}

// A worker is killed again and again while it applies, emits and makes checkpoints, and once its files are lost too. What it comes to is what a worker
// comes to that reads the log once, undisturbed; and events are neither lost nor doubled.
func TestWorkerIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	p := f.spawn("-checkpoint-every", "10ms")
	in := f.ingress()
	f.setUp(in)
	b := f.startBurst(in)
	for i := range 5 {
		b.more(100)
		p.kill()
		if i == 3 {
			if err := os.RemoveAll(filepath.Join(f.dir, "worker")); err != nil {
				t.Fatal(err)
			}
		}
		p = f.spawn("-checkpoint-every", "10ms")
	}
	b.more(100)
	b.end()
	b.audit(in)
	before := f.digests(p.admin)
	p.kill()
	w := f.worker()
	f.sameDigests(w.admin, before, "after a crash")
	w.stop()
	f.sameDigests(f.worker("-data-dir", t.TempDir()).admin, before, "after a replay of everything")
	b.audit(in) // the replay told nothing twice
}

// A second worker joins in the middle of a burst and takes its share, then the first one leaves. While a partition moves it has two owners, each with
// files of its own, which is harmless.
func TestTwoWorkersAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	first := f.worker()
	in := f.ingress()
	f.setUp(in)
	b := f.startBurst(in)
	b.more(150)
	second := f.worker("-data-dir", t.TempDir())
	natstest.Eventually(t, func() bool { return f.serving(first) == 1 && f.serving(second) == 1 }, "the partitions to be shared")
	b.more(150)
	first.stop()
	b.more(150)
	b.end()
	b.audit(in)
	before := f.digests(second.admin)
	second.stop()
	f.sameDigests(f.worker("-data-dir", t.TempDir()).admin, before, "after a replay of everything")
}
