package partition

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// snapshot makes a snapshot of all that is applied, and trims, between two messages.
func (x *run) snapshot() snapshot.Entry {
	x.t.Helper()
	natstest.Eventually(x.t, func() bool { s := x.Status(); return s.CheckpointSeq == s.Applied }, "all is in a checkpoint")
	type result struct {
		kept []snapshot.Entry
		err  error
	}
	done := make(chan result)
	x.calls <- func(a *actor) {
		kept, err := a.shelf.Make(context.Background(), a.store, nil)
		if err == nil {
			_, err = a.shelf.Trim(context.Background(), kept)
		}
		done <- result{kept, err}
	}
	res := <-done
	if res.err != nil {
		x.t.Fatal(res.err)
	}
	return res.kept[0]
}

// snapshots makes n of them, with some triggers before each.
func (r *rig) snapshots(x *run, n int) (made []snapshot.Entry) {
	r.t.Helper()
	for range n {
		r.burst(5)
		x.reach(r.last())
		made = append(made, x.snapshot())
	}
	return made
}

// first is the first sequence of the log.
func (r *rig) first() uint64 {
	r.t.Helper()
	first, _, err := r.broker.Extent(r.ctx(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return first
}

// same holds a partition to another one that was never interrupted.
func (r *rig) same(x, witness *run) {
	r.t.Helper()
	natstest.Eventually(r.t, func() bool {
		last := r.last()
		x.reach(last)
		witness.reach(last)
		got, at, err := x.Digest(r.ctx())
		want, wantAt, wantErr := witness.Digest(r.ctx())
		if err := errors.Join(err, wantErr); err != nil {
			r.t.Fatal(err)
		}
		if at != wantAt { // a tick came in between
			return false
		}
		if got != want {
			r.t.Errorf("digest at %d is %016x, that of an uninterrupted run %016x", at, got, want)
		}
		return true
	}, "both are at the same place")
}

// began is the checkpoint at which the partition's life began.
func (x *run) began() uint64 { return x.view.read().base }

// setAside counts the files that were set aside beside a file.
func (r *rig) setAside(file, reason string) int {
	r.t.Helper()
	names, err := filepath.Glob(file + ".*." + reason)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(names)
}

// damage flips a byte in the last chunk of a snapshot, and takes the others away.
func (r *rig) damage(e snapshot.Entry) {
	r.t.Helper()
	if err := r.tryDamage(e); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) tryDamage(e snapshot.Entry) error {
	const stream = "OBJ_" + broker.StoreSnapshots
	subject := "$O." + broker.StoreSnapshots + ".C." + strings.NewReplacer("/", ".", "-", ".").Replace(e.Object)
	msg, err := r.broker.LastOf(r.ctx(), stream, subject)
	if err != nil {
		return err
	}
	msg.Data[len(msg.Data)/2] ^= 1
	s, err := r.broker.JS.Stream(r.ctx(), stream)
	if err == nil {
		err = s.Purge(r.ctx(), jetstream.WithPurgeSubject(subject))
	}
	if err == nil {
		_, err = r.broker.JS.Publish(r.ctx(), subject, msg.Data)
	}
	return err
}

// pointer replaces what the pointer says, and returns what it said.
func (r *rig) pointer(value string) (before string) {
	r.t.Helper()
	kv, err := r.broker.JS.KeyValue(r.ctx(), broker.BucketSnapshots)
	if err != nil {
		r.t.Fatal(err)
	}
	entry, err := kv.Get(r.ctx(), "0")
	if err == nil {
		before = string(entry.Value())
	} else if !errors.Is(err, jetstream.ErrKeyNotFound) {
		r.t.Fatal(err)
	}
	if _, err := kv.PutString(r.ctx(), "0", value); err != nil {
		r.t.Fatal(err)
	}
	return before
}

// flip damages whatever a file holds of a user, also while it is open.
func flip(t testing.TB, file, user string) {
	t.Helper()
	flipAt(t, file, user, 4)
}

// flipAt flips the byte that stands so far behind every mention of a user.
func flipAt(t testing.TB, file, user string, behind int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := 0
	for at := 0; ; at++ {
		i := bytes.Index(content[at:], []byte(user))
		if i < 0 {
			break
		}
		at += i
		target := at + len(user) + behind
		if _, err := f.WriteAt([]byte{content[target] ^ 0x55}, int64(target)); err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found == 0 {
		t.Fatalf("%s is not in %s", user, file)
	}
}

// uncached reads users from the file, so that damage is met.
func uncached(c *Config, _ *Deps) { c.CacheBytes = -1 }
