package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// A partition whose events are gone, with those that its file was made with, halts, and there may be no backup of them. An operator who says so goes on after them: what
// followed since is emitted, each event once, with the numbers that it has anyway.
func TestAdoptWithoutLostEvents(t *testing.T) {
	for name, lose := range map[string]func(f *fleet, early natstest.Backup) (left int){
		"purged": func(f *fleet, _ natstest.Backup) int {
			stream, err := f.broker.JS.Stream(f.ctx(), broker.EventsStream(torn))
			if err == nil {
				err = stream.Purge(f.ctx())
			}
			if err != nil {
				f.t.Fatal(err)
			}
			return 0
		},
		"lost its end": func(f *fleet, early natstest.Backup) int {
			if err := f.broker.JS.DeleteStream(f.ctx(), broker.EventsStream(torn)); err != nil {
				f.t.Fatal(err)
			}
			early.Restore(f.t, f.broker.Conn)
			return len(f.emitted(torn))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			a := f.start("a")
			f.settled(a)
			f.sendRange(1, 20)
			f.inFile(a)
			early := natstest.TakeBackup(t, f.broker.Conn, broker.EventsStream(torn))
			f.sendRange(21, 40)
			f.inFile(a)
			a.drain()
			known := len(f.emitted(torn)) // to the file
			left := lose(f, early)
			f.sendRange(41, 60)
			a = f.start("a")
			f.halted(1)
			adopt := []string{"adopt", "-partition", fmt.Sprint(torn), "-data-dir", filepath.Join(f.dir, "a"), "-margin", "5"}
			if _, errs := f.typed(1, adopt...); !strings.Contains(errs, fmt.Sprintf("events %d to %d", left+1, known)) || !strings.Contains(errs, "-events-lost") {
				t.Errorf("a refusal says %s", errs)
			}
			if out, _ := f.typed(0, append(adopt, "-events-lost")...); !strings.Contains(out, fmt.Sprintf("events %d to %d will never", left+1, known)) {
				t.Errorf("adopt says\n%s", out)
			}
			f.settled(a)
			f.sendRange(61, 70)
			f.inFile(a)
			all := f.reference(torn, f.last(torn))
			if diff := cmp.Diff(slices.Concat(all[:left], all[known:]), f.emitted(torn)); diff != "" {
				t.Errorf("events are not those that are left, and those after the lost ones (-want +got):\n%.3000s", diff)
			}
			if len(all) == known {
				t.Error("nothing followed")
			}
			a.drain()
			f.settled(f.start("a")) // its file fits now
		})
	}
}

// A worker may begin with a snapshot although its file fits: what is adopted has what the further one of the two was made with.
func TestAdoptBeginsWithWhatStandsFurthest(t *testing.T) {
	f := newFleet(t)
	f.change = func(c *Config) { often(c); c.RestoreSpares = 1 }
	a := f.start("a")
	f.settled(a)
	f.sendRange(1, 20)
	f.inFile(a)
	a.drain()
	dir := filepath.Join(f.dir, "old")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(f.dir, "a"))); err != nil {
		t.Fatal(err)
	}
	a = f.start("a")
	f.sendRange(21, 40)
	f.inFile(a)
	natstest.Eventually(t, func() bool { r := f.inspect()[torn]; return r.SnapshotSeq == r.Last }, "there is a snapshot of all of it: %v", f)
	a.drain()
	known := len(f.emitted(torn))
	stream, err := f.broker.JS.Stream(f.ctx(), broker.EventsStream(torn))
	if err == nil {
		err = stream.Purge(f.ctx())
	}
	if err != nil {
		t.Fatal(err)
	}
	f.typed(0, "pause", "-partition", fmt.Sprint(torn))
	out, _ := f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", dir, "-margin", "5", "-events-lost")
	if !strings.Contains(out, "replaying from the snapshot") || !strings.Contains(out, fmt.Sprintf("go on after %d", known)) {
		t.Errorf("adopt says\n%s", out)
	}
	old := f.start("old")
	f.settled(old)
	f.sendRange(41, 50)
	f.inFile(old)
	if diff := cmp.Diff(f.reference(torn, f.last(torn))[known:], f.emitted(torn)); diff != "" {
		t.Errorf("events are not those after the lost ones (-want +got):\n%.3000s", diff)
	}
}
