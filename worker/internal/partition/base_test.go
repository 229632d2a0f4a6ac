package partition

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// kept is a rig whose log is trimmed to the older of two snapshots; with some triggers after both. The witness has followed from the beginning.
func kept(t *testing.T) (r *rig, file string, made []snapshot.Entry, witness *run) {
	t.Helper()
	r = newRig(t)
	file = r.file()
	r.append(users(20)...)
	witness = r.standby(r.file())
	x := r.start(file)
	made = r.snapshots(x, 2)
	r.burst(5)
	x.reach(r.last())
	witness.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	if first := r.first(); first != made[0].Seq {
		t.Fatalf("the log begins with %d, not with %d", first, made[0].Seq)
	}
	return r, file, made, witness
}

// A worker with an empty disk comes back whole from a snapshot and what the log holds after it.
func TestRestore(t *testing.T) {
	r, file, made, witness := kept(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	x := r.start(file)
	r.same(x, witness)
	if x.began() != made[1].Seq {
		t.Errorf("it began at %d, not with snapshot %s", x.began(), made[1].Object)
	}
	if n := testutil.ToFloat64(x.deps.Metrics.replayed.WithLabelValues("0")); n < 5 || n > 100 {
		t.Errorf("%v messages were replayed", n)
	}
	r.burst(5)
	r.same(x, witness)
}

// The same with the log whole: the snapshot leads to what a replay of everything leads to.
func TestRestoreIsLikeReplaying(t *testing.T) {
	r := newRig(t)
	r.append(users(5)...)
	x := r.start(r.file())
	made := r.snapshots(x, 1)
	r.fillSmall()
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	x = r.start(r.file())
	r.sameAsUninterrupted(x)
	if x.began() != made[0].Seq {
		t.Errorf("it began at %d, not with the snapshot", x.began())
	}
}

func TestDamagedSnapshotsFallBack(t *testing.T) {
	r, file, made, witness := kept(t)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.damage(made[1])
	x := r.start(file)
	r.same(x, witness)
	if x.began() != made[0].Seq {
		t.Errorf("it began at %d, not with the older snapshot", x.began())
	}
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	r.damage(made[0])
	wantHalt(t, r.start(r.file()).wait(), "does not begin with its first message")
	r.same(r.start(file), witness) // and the file needs none of them
}

func TestDamagedSnapshotsLeadToTheLog(t *testing.T) {
	r := newRig(t)
	r.append(users(5)...)
	x := r.start(r.file())
	made := r.snapshots(x, 1)
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	r.damage(made[0])
	x = r.start(r.file())
	r.sameAsUninterrupted(x)
	if x.began() != 0 {
		t.Errorf("it began at %d", x.began())
	}
}

// That the snapshots cannot be read is not that there are none: it waits, says so, and goes on by itself. The log being whole changes nothing.
func TestUnreadableSnapshotsAreWaitedFor(t *testing.T) {
	for _, trimmed := range []bool{true, false} {
		t.Run(fmt.Sprintf("trimmed=%t", trimmed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.append(users(20)...)
			witness := r.standby(r.file())
			x := r.start(r.file())
			r.snapshots(x, map[bool]int{true: 2, false: 1}[trimmed])
			if err := x.drain(); err != nil {
				t.Fatal(err)
			}
			before := r.pointer("gibberish")
			file := r.file()
			x = r.start(file)
			natstest.Eventually(t, func() bool {
				_, err := x.Check()
				return err != nil && strings.Contains(err.Error(), "whether there are snapshots cannot be told")
			}, "it says so")
			if _, err := os.Stat(file); err == nil || x.State() != Checking {
				t.Errorf("it is %s and has made a file", x.State())
			}
			r.pointer(before)
			r.same(x, witness)
			if x.began() == 0 {
				t.Error("it began with the log")
			}
		})
	}
}

// A file that fits needs no snapshot, unless that spares much.
func TestFileOrSnapshot(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	file := r.file()
	x := r.start(file)
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	at := x.Status().CheckpointSeq
	x = r.start(r.file())
	made := r.snapshots(x, 1)
	spare := made[0].Seq - at
	begins := func(spares, want uint64) {
		t.Helper()
		copied := r.file()
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(copied, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		y := r.start(copied, func(c *Config, _ *Deps) { c.RestoreSpares = spares })
		r.same(y, x)
		if y.began() != want {
			t.Errorf("sparing %d of %d it began at %d, not at %d", spares, spare, y.began(), want)
		}
	}
	begins(spare, at)
	begins(spare-1, made[0].Seq)
	r.damage(made[0])
	begins(spare-1, at) // damage costs time alone
	r.pointer("gibberish")
	begins(spare-1, at)
}

// A file whose position was trimmed away is true, and of no use.
func TestStaleFileIsReplaced(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	file := r.file()
	x := r.start(file)
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	witness := r.start(r.file())
	made := r.snapshots(witness, 3)
	x = r.start(file)
	r.same(x, witness)
	if x.began() != made[2].Seq || r.setAside(file, "*") != 0 {
		t.Errorf("it began at %d, %d files are set aside", x.began(), r.setAside(file, "*"))
	}
}

// A standby that falls so far behind that the log is trimmed under it takes a snapshot, without being restarted.
func TestTrimmedUnderAStandby(t *testing.T) {
	r := newRig(t)
	r.append(users(20)...)
	proxy := r.srv.Proxy()
	through := r.connect(proxy.URL())
	x := r.standby(r.file(), func(_ *Config, d *Deps) { d.Broker = through })
	x.reach(r.last())
	owner := r.start(r.file())
	owner.reach(r.last())
	proxy.Refuse(true)
	proxy.Cut()
	made := r.snapshots(owner, 3)
	proxy.Refuse(false)
	r.same(x, owner)
	if x.began() != made[2].Seq {
		t.Errorf("it began anew at %d, not with the snapshot of %d", x.began(), made[2].Seq)
	}
	x.in(Following)
}

// What says that the log lost its tail halts, even if nothing else is wrong: a snapshot that is ahead of the log, or of another message.
func TestSnapshotsProveALostTail(t *testing.T) {
	dir := t.TempDir()
	r := &rig{t: t, srv: natstest.Start(t, natstest.Lazy(), natstest.Dir(dir))}
	r.broker = r.connect(r.srv.URL())
	r.append(users(20)...)
	old := r.file()
	x := r.start(old)
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", broker.TriggersStream(0))) // of whichever account
	if err != nil || len(logs) != 1 {
		t.Fatalf("the log lies in %v, %v", logs, err)
	}
	log, backup := logs[0], t.TempDir()
	r.srv.Stop()
	replace(t, backup, log)
	r.srv.Boot()
	natstest.Eventually(t, r.broker.Conn.IsConnected, "connection comes back")
	x = r.start(r.file())
	r.snapshots(x, 1)
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	r.srv.Stop()
	replace(t, log, backup)
	r.srv.Boot()
	natstest.Eventually(t, r.broker.Conn.IsConnected, "connection comes back")
	wantHalt(t, r.start(r.file()).wait(), "lost its tail")
	wantHalt(t, r.start(old).wait(), "lost its tail")
	for range 10 {
		r.append(users(1)...)
	}
	wantHalt(t, r.start(r.file()).wait(), "does not fit")
	wantHalt(t, r.start(old).wait(), "does not fit")
}

// replace makes a folder a copy of another one.
func replace(t *testing.T, folder, by string) {
	t.Helper()
	err := os.RemoveAll(folder)
	if err == nil {
		err = os.CopyFS(folder, os.DirFS(by))
	}
	if err != nil {
		t.Fatal(err)
	}
}
