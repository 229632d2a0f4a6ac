package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/store"
)

func TestMain(m *testing.M) {
	natstest.BeServer()
	goleak.VerifyTestMain(m)
}

// rig is a real broker, and a store whose checkpoints belong to messages of the log.
type rig struct {
	t      testing.TB
	srv    *natstest.Server
	broker *broker.Broker
	path   string
	store  *store.Store
	seq    uint64
}

func newRig(t testing.TB) *rig {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	r := newRigOn(t, srv.Connect(), 1)
	r.srv = srv
	return r
}

func newRigOn(t testing.TB, conn *nats.Conn, replicas int) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "partition-0.db")}
	b, err := broker.Ensure(t.Context(), conn, broker.Settings{Partitions: 2, Replicas: replicas}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.broker = b
	if r.store, err = store.Open(r.path, store.Options{LogID: b.LogID(0)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	return r
}

// shelves have small chunks and no throttle to speak of.
func (r *rig) shelves(failpoint func(string) error) *Shelves {
	return New(Config{ChunkBytes: 4096, Rate: 1 << 40, Share: 1}, Deps{Broker: r.broker, Failpoint: failpoint})
}

func (r *rig) shelf() *Shelf { return r.shelves(nil).Of(0, r.path) }

// advance appends a message to the log, changes the state, and makes a checkpoint of that.
func (r *rig) advance() {
	r.t.Helper()
	ack, err := r.broker.JS.Publish(r.t.Context(), broker.TriggersSubject(0), []byte("x"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.seq = ack.Sequence
	msg, err := r.broker.Message(r.t.Context(), 0, r.seq)
	if err != nil {
		r.t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{byte(r.seq)})
	for i := range 100 {
		noise := make([]byte, 200)
		_, _ = random.Read(noise) // never fails
		r.store.PutUser([]byte("acme"), fmt.Appendf(nil, "user-%d-%d", r.seq, i), &machine.User{Version: r.seq,
			Vars: []machine.Var{{Name: "noise", Value: fmt.Appendf(nil, `"%x"`, noise)}}})
	}
	r.store.Freeze(store.Checkpoint{Identity: store.Identity{LogID: r.broker.LogID(0), Seq: r.seq, Time: msg.Time.UnixNano(), Hash: xxhash.Sum64(msg.Data)},
		Head: machine.Head{Applied: r.seq, Events: 3 * r.seq}, EmittedSeq: 2 * r.seq})
	if err := r.store.Commit(); err != nil {
		r.t.Fatal(err)
	}
	r.store.Release()
}

// made is a snapshot of one more message.
func (r *rig) made(s *Shelf) Entry {
	r.t.Helper()
	r.advance()
	kept, err := s.Make(r.t.Context(), r.store, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return kept[0]
}

func (r *rig) list() []Entry {
	r.t.Helper()
	entries, err := r.shelf().List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return entries
}

// objects are the names of what is in the store, whole or not.
func (r *rig) objects() (names []string) {
	r.t.Helper()
	found, err := r.shelf().objects(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for subject := range found {
		at, ok := placeAt(subject)
		if !ok {
			r.t.Fatalf("subject %s", subject)
		}
		names = append(names, at.name)
	}
	return names
}

// restored restores a snapshot beside the store and returns its digest.
func (r *rig) restored(e Entry) (digest uint64, err error) {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "restored.db")
	if err := r.shelves(nil).Of(0, path).Restore(r.t.Context(), e); err != nil {
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
			r.t.Errorf("a restore that failed left %v behind", left)
		}
		return 0, err
	}
	s, err := store.Open(path, store.Options{LogID: r.broker.LogID(0)})
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	if last, ok := s.Last(); !ok || last.Identity != e.Identity {
		r.t.Errorf("it holds %+v, not %+v", last.Identity, e.Identity)
	}
	return s.LastDigest(), nil
}

// sound holds what is kept to what the store says of it: each can be restored, and nothing else lies around.
func (r *rig) sound(want ...uint64) {
	r.t.Helper()
	entries := r.list()
	var seqs []uint64
	for _, e := range entries {
		seqs = append(seqs, e.Seq)
		if d, err := r.restored(e); err != nil || d != e.Digest {
			r.t.Errorf("snapshot %s: digest %016x, %v, want %016x", e.Object, d, err, e.Digest)
		}
	}
	if fmt.Sprint(seqs) != fmt.Sprint(want) {
		r.t.Errorf("kept are %v, want %v", seqs, want)
	}
	if names := r.objects(); len(names) != len(entries) {
		r.t.Errorf("the store holds %v, kept are %d", names, len(entries))
	}
}

// overwrite replaces the chunks of an object by what change makes of them.
func (r *rig) overwrite(e Entry, change func([][]byte) [][]byte) {
	r.t.Helper()
	ctx := r.t.Context()
	at, seq := placeOf(e.Object), uint64(0)
	var chunks [][]byte
	for {
		msg, err := r.broker.NextOf(ctx, objectStream, at.chunks, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			r.t.Fatal(err)
		}
		chunks, seq = append(chunks, msg.Data), msg.Sequence+1
	}
	stream, err := r.broker.JS.Stream(ctx, objectStream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(at.chunks))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range change(chunks) {
		if _, err := r.broker.JS.Publish(ctx, at.chunks, c); err != nil {
			r.t.Fatal(err)
		}
	}
}

// strike is a failpoint that fails at the nth pass of a step, from 1.
func strike(step string, n int64) func(string) error {
	var passed atomic.Int64
	return func(s string) error {
		if s == step && passed.Add(1) == n {
			return errors.New("pulled the plug")
		}
		return nil
	}
}

// source is a function that is a Source.
type source func(ctx context.Context, path string) (store.Copied, error)

func (f source) CopyTo(ctx context.Context, path string) (store.Copied, error) { return f(ctx, path) }
