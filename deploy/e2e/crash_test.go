package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

// digests waits until a worker has applied all there is, and returns a digest of each partition's state.
func (f *fleet) digests(admin string) (all []string) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		all = nil
		for _, p := range f.partitions(admin, "?digest=1") {
			if p.DigestSeq != f.lastSeq(p.Partition) {
				return false
			}
			all = append(all, p.Digest)
		}
		return true
	}, "the worker to catch up")
	return all
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

// A second worker takes over a share of the partitions in the middle of a burst, and then all of them. While one moves it has two owners, each with files
// of its own, which is harmless.
func TestTwoWorkersAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	first := f.worker()
	in := f.ingress()
	f.setUp(in)
	b := f.startBurst(in)
	b.more(150)
	second := f.worker("-data-dir", t.TempDir())
	b.more(300)
	b.end()
	b.audit(in)
	first.stop()
	before := f.digests(second.admin)
	second.stop()
	f.sameDigests(f.worker("-data-dir", t.TempDir()).admin, before, "after a replay of everything")
}
