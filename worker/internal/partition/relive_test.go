package partition

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
)

// A damaged file, or another log's, is set aside as it is, and made anew from what there is: from the log, or from a snapshot.
func TestUnusableFileIsSetAside(t *testing.T) {
	content := func(t *testing.T, file string) []byte {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	_, foreign := ran(t)
	for _, c := range []struct {
		name, reason string
		damage       func(t *testing.T, file string) []byte
	}{
		{"truncated", asideCorrupt, func(t *testing.T, file string) []byte { return content(t, file)[:20_000] }},
		{"empty", asideCorrupt, func(*testing.T, string) []byte { return nil }},
		{"text", asideCorrupt, func(*testing.T, string) []byte { return make([]byte, 100_000) }},
		{"foreign", asideForeign, func(t *testing.T, _ string) []byte { return content(t, foreign) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, file, made, witness := kept(t)
			damaged := c.damage(t, file)
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			x := r.start(file)
			r.same(x, witness)
			if x.began() != made[1].Seq {
				t.Errorf("it began at %d", x.began())
			}
			if n := testutil.ToFloat64(x.deps.Metrics.setAside.WithLabelValues("0", c.reason)); n != 1 || r.setAside(file, c.reason) != 1 {
				t.Errorf("set aside are %d, counted %v", r.setAside(file, c.reason), n)
			}
			if count, bytes := x.asides(); count != 1 || bytes != int64(len(damaged)) {
				t.Errorf("set aside are %d files of %d bytes, not one of %d", count, bytes, len(damaged))
			}
		})
	}
}

// A file of a newer triggerd is not damaged: it is left where it is.
func TestNewerFileHalts(t *testing.T) {
	r, file, _, _ := kept(t)
	bumpVersion(t, file)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantHalt(t, r.start(file).wait(), "unknown format version")
	after, err := os.ReadFile(file)
	if err != nil || string(before) != string(after) || r.setAside(file, "*") != 0 {
		t.Errorf("it was touched: %v", err)
	}
}

// A byte that flips while the partition runs is found when it is read: by applying, by a commit, or by a question. The partition sets the file
// aside and goes on with another one.
func TestFlippedByteWhileRunning(t *testing.T) {
	for _, trimmed := range []bool{true, false} {
		r := newRig(t)
		r.append(users(200)...)
		witness, file := r.standby(r.file()), r.file()
		x := r.start(file, uncached)
		if trimmed {
			r.snapshots(x, 2)
		}
		x.reach(r.last())
		natstest.Eventually(t, func() bool { s := x.Status(); return s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
		flip(t, file, "user-150")
		r.append(trigger("user-150", 1, 0))
		r.burst(5)
		r.same(x, witness)
		if n := r.setAside(file, asideCorrupt); n != 1 {
			t.Errorf("trimmed %t: %d files are set aside", trimmed, n)
		}
		if (x.began() > 0) != trimmed {
			t.Errorf("trimmed %t: it began anew at %d", trimmed, x.began())
		}
		if x.State() != Serving {
			t.Errorf("it is %s", x.State())
		}
	}
}

// Damage that only a commit meets ends a life as well: trying again would not help.
func TestDamageFoundByACommit(t *testing.T) {
	r := newRig(t)
	r.append(users(200)...)
	witness, file := r.standby(r.file()), r.file()
	x := r.start(file) // the users are in memory
	x.reach(r.last())
	natstest.Eventually(t, func() bool { s := x.Status(); return s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const metas = 2 * 4096
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, int(info.Size()-metas)), metas); err != nil {
		t.Fatal(err)
	}
	r.append(trigger("user-150", 1, 0))
	natstest.Eventually(t, func() bool { return r.setAside(file, asideCorrupt) == 1 }, "the file is set aside")
	r.same(x, witness)
}

// Damage that nobody reads is found when a snapshot is made, before it takes the place of the log.
func TestFlippedByteIsNoSnapshot(t *testing.T) {
	r := newRig(t)
	r.append(users(200)...)
	witness, file := r.standby(r.file()), r.file()
	x := r.standby(file, uncached, keeping) // it makes no snapshots yet
	x.reach(r.last())
	natstest.Eventually(t, func() bool { s := x.Status(); return s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
	flip(t, file, "user-150")
	x.Lead()
	natstest.Eventually(t, func() bool { return r.setAside(file, asideCorrupt) == 1 }, "the file is set aside")
	r.same(x, witness)
	natstest.Eventually(t, func() bool { return x.Status().SnapshotSeq > 0 }, "a snapshot is made of the new file")
}

// A damaged key is not read, it is missed: the user is unknown, and other events follow. Before that halts the partition, its file is looked through.
func TestFlippedKeyIsFoundBeforeHalting(t *testing.T) {
	r := newRig(t)
	r.append(users(200)...)
	file := r.file()
	x, other := r.standby(file, uncached), r.start(r.file())
	other.reach(r.last())
	natstest.Eventually(t, func() bool { s := x.Status(); return s.CheckpointSeq == r.last() }, "all is in a checkpoint")
	flipAt(t, file, "user-150", -1)
	for i := range 10 {
		r.append(trigger("user-150", i, 1))
	}
	other.reach(r.last())
	natstest.Eventually(t, func() bool { return r.setAside(file, asideCorrupt) == 1 }, "the file is set aside")
	r.same(x, other)
}

// A key that was damaged while nobody looked is found before anything is derived without it: nobody else would notice.
func TestFlippedKeyIsFoundAtTheStart(t *testing.T) {
	r := newRig(t)
	r.append(users(200)...)
	file := r.file()
	x := r.start(file)
	x.reach(r.last())
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	flipAt(t, file, "user-150", -1)
	r.append(trigger("user-150", 1, 0))
	x = r.start(file)
	r.sameAsUninterrupted(x)
	if n := r.setAside(file, asideCorrupt); n != 1 {
		t.Errorf("%d files are set aside", n)
	}
}

// A machine that damages each file that is made is not given another one for ever.
func TestFileIsNotSetAsideForEver(t *testing.T) {
	r := newRig(t)
	r.append(users(200)...)
	file := r.file()
	x := r.start(file, uncached)
	for range maxAside + 1 {
		x.reach(r.last())
		natstest.Eventually(t, func() bool { s := x.Status(); return s.State == "serving" && s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
		before := r.setAside(file, asideCorrupt)
		flip(t, file, "user-150")
		r.append(trigger("user-150", 1, 0))
		if before < maxAside {
			natstest.Eventually(t, func() bool { return r.setAside(file, asideCorrupt) > before }, "the file is set aside")
		}
	}
	err := x.wait()
	wantHalt(t, err, "found unusable 4 times")
	if n := r.setAside(file, asideCorrupt); n != maxAside || !errors.As(err, new(*HaltError)) {
		t.Errorf("%d files are set aside", n)
	}
}

// bumpVersion makes a file one of a later format, which stands right behind its key.
func bumpVersion(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.ReplaceAll(content, []byte("format\x02"), []byte("format\x09")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
