package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// home is one of the places where the partition runs, or not.
type home struct {
	file string
	run  *run // nil: it does not run
	plug *atomic.Bool
}

// Whatever happens to two workers that share a partition, or own it both at once: crashes at any step, lost disks, damaged files, a damaged snapshot. The
// state is that of a run that was never interrupted, and the log keeps what a snapshot needs.
func TestAnyLivesLeadToTheSameState(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			r, random := newRig(t), rand.New(rand.NewPCG(seed, 7))
			r.append(users(200)...)
			witness := r.standby(r.file())
			homes := []*home{{file: r.file()}, {file: r.file()}}
			damaged := false
			for range 30 {
				r.burst(1 + random.IntN(5))
				h := homes[random.IntN(len(homes))]
				switch op := random.IntN(6); {
				case h.run == nil && op == 0:
					if err := os.Remove(h.file); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
				case h.run == nil && op == 1 && r.holds(h.file):
					flip(t, h.file, "user-199")
				case h.run == nil:
					r.live(h)
				case op == 0:
					h.crash()
				case op == 1:
					if err := h.run.drain(); err != nil {
						t.Error(err)
					}
					h.run = nil
				case op == 2 && !damaged:
					damaged = r.damageNewest(h.run)
				default:
					h.run.reach(r.last())
				}
				r.keepsWhatSnapshotsNeed(witness)
			}
			for _, h := range homes {
				if h.run == nil {
					r.live(h)
				}
				r.same(h.run, witness)
			}
		})
	}
}

// holds says whether a file has users in it.
func (r *rig) holds(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Size() > 64<<10
}

// live starts a partition that makes snapshots all the time, and dies at the next step of anything once its plug is pulled.
func (r *rig) live(h *home) {
	r.t.Helper()
	plug := &atomic.Bool{}
	pulled := func(string) error {
		if plug.Load() {
			return errors.New("pulled the plug")
		}
		return nil
	}
	h.plug = plug
	h.run = r.start(h.file, keeping, uncached, func(c *Config, d *Deps) {
		d.Failpoint, c.RestoreSpares = pulled, 20
		d.Shelves = snapshot.New(snapshot.Config{ChunkBytes: 1000}, snapshot.Deps{Broker: r.broker, Logger: d.Logger, Failpoint: pulled})
	})
}

func (h *home) crash() {
	h.plug.Store(true)
	_ = h.run.drain() // or how far it gets
	h.run = nil
}

// damageNewest leaves the older one whole.
func (r *rig) damageNewest(x *run) bool {
	r.t.Helper()
	entries, err := x.shelf.List(r.ctx())
	if err != nil {
		r.t.Fatal(err)
	}
	if len(entries) < 2 {
		return false
	}
	return r.tryDamage(entries[0]) == nil // it may be gone already
}

// keepsWhatSnapshotsNeed: each of them fits the log.
func (r *rig) keepsWhatSnapshotsNeed(x *run) {
	r.t.Helper()
	entries, err := x.shelf.List(r.ctx())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		err := verifyMessage(r.ctx(), r.broker, 0, mark{seq: e.Seq, time: e.Time, hash: e.Hash})
		now, listErr := x.shelf.List(r.ctx())
		if still := fmt.Sprint(now) == fmt.Sprint(entries); err != nil && still || listErr != nil {
			r.t.Errorf("the log does not have what snapshot %s needs: %v", e.Object, errors.Join(err, listErr))
		}
	}
}
