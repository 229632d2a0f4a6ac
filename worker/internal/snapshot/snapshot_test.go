package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// A log that was restored and goes on with other messages is not trimmed: nobody has applied what is in it, whatever its snapshots hold.
func TestTrimNeedsTheLogOfTheSnapshot(t *testing.T) {
	r := newRig(t)
	s := r.shelf()
	early := natstest.TakeBackup(t, r.broker.Conn, broker.TriggersStream(0))
	for range 3 {
		r.made(s)
	}
	kept := r.list()
	if err := r.broker.JS.DeleteStream(t.Context(), broker.TriggersStream(0)); err != nil {
		t.Fatal(err)
	}
	early.Restore(t, r.broker.Conn)
	for range 10 {
		if _, err := r.broker.JS.Publish(t.Context(), broker.TriggersSubject(0), []byte("another")); err != nil {
			t.Fatal(err)
		}
	}
	if seq, err := s.Trim(t.Context(), kept); seq != 0 || !errors.Is(err, errOtherLog) {
		t.Errorf("trimmed to %d, %v", seq, err)
	}
	if first, _, err := r.broker.Extent(t.Context(), 0); first != 1 || err != nil {
		t.Errorf("the log begins with %d, %v", first, err)
	}
}

func TestMakeListRestoreTrim(t *testing.T) {
	r := newRig(t)
	if entries := r.list(); len(entries) != 0 {
		t.Errorf("at first there are %v", entries)
	}
	s := r.shelf()
	one := r.made(s)
	if one.Digest != r.store.LastDigest() || one.Events != 3*one.Seq || one.EmittedSeq != 2*one.Seq || one.CompressedBytes <= 3*4096 {
		t.Errorf("the snapshot is %+v", one)
	}
	r.trim(s, 0) // of a single one nothing is trimmed
	two := r.made(s)
	r.sound(two.Seq, one.Seq)
	r.trim(s, one.Seq)
	r.advance() // of which there is no snapshot
	three := r.made(s)
	r.sound(three.Seq, two.Seq)
	r.trim(s, two.Seq)
	if first, _, err := r.broker.Extent(t.Context(), 0); first != two.Seq || err != nil {
		t.Errorf("the log begins at %d, %v, not at %d", first, err, two.Seq)
	}
	if _, err := s.Make(t.Context(), r.store, nil); !errors.Is(err, ErrNothingNew) {
		t.Errorf("another one of the same checkpoint: %v", err)
	}
	r.sound(three.Seq, two.Seq)
	r.tidy()
}

// A second one of the same checkpoint is made only for whoever asks for it, and only if that lets go of more of the log.
func TestTwin(t *testing.T) {
	r := newRig(t)
	s := r.shelf()
	one := r.made(s)
	twin := func() ([]Entry, error) {
		return s.Make(t.Context(), r.store, &Occasion{Newest: r.list()[0].Object, Twin: true})
	}
	if _, err := twin(); err != nil { // of the only one
		t.Fatal(err)
	}
	r.sound(one.Seq, one.Seq)
	if _, err := twin(); !errors.Is(err, ErrNothingNew) {
		t.Errorf("a third one of the same checkpoint: %v", err)
	}
	two := r.made(s)
	r.trim(s, one.Seq)
	if kept, err := twin(); err != nil || kept[0].Object == kept[1].Object {
		t.Fatal(kept, err)
	}
	r.sound(two.Seq, two.Seq)
	r.trim(s, two.Seq)
	r.tidy()
}

func (r *rig) trim(s *Shelf, want uint64) {
	r.t.Helper()
	if seq, err := s.Trim(r.t.Context(), r.list()); seq != want || err != nil {
		r.t.Errorf("trimmed to %d, %v, want %d", seq, err, want)
	}
}

// tidy: no temporary file is left.
func (r *rig) tidy() {
	r.t.Helper()
	if files, err := os.ReadDir(filepath.Dir(r.path)); len(files) != 1 || err != nil {
		r.t.Errorf("beside the partition's file there are %v, %v", files, err)
	}
}

// What a crash at any step leaves behind changes nothing, and is gone after the next snapshot.
func TestCrashAtEveryStep(t *testing.T) {
	for _, c := range []struct {
		step string
		nth  int64
		done bool // the snapshot is one
	}{
		{StepLook, 1, false}, {StepCopy, 1, false}, {StepCheck, 1, false}, {StepUpload, 1, false}, {StepUpload, 3, false}, {StepSeal, 1, false},
		{StepReadBack, 1, false}, {StepPoint, 1, false}, {StepDrop, 1, true}, {StepTrim, 1, true},
	} {
		t.Run(fmt.Sprintf("%s-%d", c.step, c.nth), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			one, two := r.made(r.shelf()), r.made(r.shelf())
			r.advance()
			crashing := r.shelves(strike(c.step, c.nth)).Of(0, r.path)
			kept, err := crashing.Make(t.Context(), r.store, nil)
			if err == nil {
				_, err = crashing.Trim(t.Context(), kept)
			}
			if !errors.Is(err, ErrAborted) {
				t.Fatalf("it ended with %v", err)
			}
			want := []uint64{two.Seq, one.Seq}
			if c.done {
				want = []uint64{r.seq, two.Seq}
			}
			if got := seqs(r.list()); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("kept are %v, want %v", got, want)
			}
			for _, e := range r.list() {
				if d, err := r.restored(e); err != nil || d != e.Digest {
					t.Errorf("%s after the crash: %v", e.Object, err)
				}
			}
			r.shelf().Tidy()
			r.tidy()
			before := r.list()[0]
			next := r.made(r.shelf())
			r.sound(next.Seq, before.Seq)
		})
	}
}

func seqs(entries []Entry) (seqs []uint64) {
	for _, e := range entries {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

// A snapshot that is told to stop, or meets a full store, leaves nothing behind.
func TestMakeThatFailsTidiesUp(t *testing.T) {
	r := newRig(t)
	one := r.made(r.shelf())
	r.advance()
	for _, step := range []string{StepLook, StepCopy, StepCheck, StepUpload, StepSeal, StepReadBack, StepPoint} {
		ctx, cancel := context.WithCancel(t.Context())
		s := r.shelves(func(at string) error {
			if at == step {
				cancel()
			}
			return nil
		}).Of(0, r.path)
		_, err := s.Make(ctx, r.store, nil)
		var at *StepError
		if !errors.Is(err, context.Canceled) || !errors.As(err, &at) || at.Step != step && step != StepCheck { // that has too few entries to notice
			t.Errorf("stopped at %s: %v", step, err)
		}
		r.sound(one.Seq)
		r.tidy()
	}
	r.resize(1000)
	s := r.shelf()
	if _, err := s.Make(t.Context(), r.store, nil); err == nil || testutil.ToFloat64(s.deps.Metrics.failures.WithLabelValues("0", StepUpload)) != 1 {
		t.Errorf("into a full store: %v", err)
	}
	r.resize(-1)
	r.sound(one.Seq)
	r.sound(r.made(s).Seq, one.Seq)
}

func (r *rig) resize(bytes int64) {
	r.t.Helper()
	stream, err := r.broker.JS.Stream(r.t.Context(), objectStream)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = bytes
	if _, err := r.broker.JS.UpdateStream(r.t.Context(), cfg); err != nil {
		r.t.Fatal(err)
	}
}

// Two workers make a snapshot at the same time, wherever they meet: one stands, the other changes nothing, and what is named is there.
func TestRace(t *testing.T) {
	for _, step := range []string{StepCopy, StepUpload, StepSeal, StepReadBack, StepPoint} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			one := r.made(r.shelf())
			r.advance()
			fast := r.shelves(nil).Of(0, filepath.Join(t.TempDir(), "other.db"))
			var met bool
			slow := r.shelves(func(at string) error {
				if at == step && !met {
					met = true
					if _, err := fast.Make(t.Context(), r.store, nil); err != nil {
						t.Errorf("the one that overtakes: %v", err)
					}
				}
				return nil
			}).Of(0, r.path)
			kept, err := slow.Make(t.Context(), r.store, nil)
			if !errors.Is(err, ErrRaced) || kept != nil {
				t.Errorf("the one that is overtaken: %v, %v", kept, err)
			}
			r.sound(r.seq, one.Seq)
			r.tidy()
			before := r.list()[0]
			r.sound(r.made(r.shelf()).Seq, before.Seq)
		})
	}
}

// An upload that is under way is not taken for what a crash left behind.
func TestOthersUploadIsLeftAlone(t *testing.T) {
	r := newRig(t)
	r.advance()
	atWork := placeOf(objectName(0, r.seq, "busy"))
	chunk := func() {
		if _, err := r.broker.JS.Publish(t.Context(), atWork.chunks, []byte("chunk")); err != nil {
			t.Fatal(err)
		}
	}
	chunk()
	s := r.shelves(func(step string) error {
		if step == StepPoint {
			chunk()
		}
		return nil
	}).Of(0, r.path)
	if _, err := s.Make(t.Context(), r.store, nil); err != nil {
		t.Fatal(err)
	}
	if names := r.objects(); len(names) != 2 {
		t.Errorf("the store holds %v", names)
	}
	before := r.list()[0]
	r.sound(r.made(r.shelf()).Seq, before.Seq) // nobody works on it any more
}

// A snapshot is restored as it was made, or not at all.
func TestDamagedObject(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([][]byte) [][]byte
	}{
		{"flipped", func(c [][]byte) [][]byte { c[2][100] ^= 1; return c }},
		{"flipped-first", func(c [][]byte) [][]byte { c[0][0] ^= 1; return c }},
		{"chunk-gone", func(c [][]byte) [][]byte { return append(c[:1], c[2:]...) }},
		{"all-gone", func([][]byte) [][]byte { return nil }},
		{"order", func(c [][]byte) [][]byte { c[1], c[2] = c[2], c[1]; return c }},
		{"longer", func(c [][]byte) [][]byte { c[1] = append(c[1], 1); return c }},
		{"shorter", func(c [][]byte) [][]byte { c[len(c)-1] = c[len(c)-1][:10]; return c }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			e := r.made(r.shelf())
			r.overwrite(e, c.change)
			if _, err := r.restored(e); !errors.Is(err, ErrDamaged) {
				t.Errorf("it was restored with %v", err)
			}
		})
	}
}

// An entry that says something else than the object holds is not believed.
func TestEntryIsHeldToTheObject(t *testing.T) {
	r := newRig(t)
	e := r.made(r.shelf())
	for name, change := range map[string]func(*Entry){
		"bytes":      func(e *Entry) { e.Bytes-- }, // as if it decompressed to more than it says
		"more bytes": func(e *Entry) { e.Bytes++ },
		"checksum":   func(e *Entry) { e.SHA256 = fmt.Sprintf("%064x", 1) },
		"time":       func(e *Entry) { e.Time++ },
		"hash":       func(e *Entry) { e.Hash++ },
		"seq":        func(e *Entry) { e.Seq++ },
		"digest":     func(e *Entry) { e.Digest++ },
		"compressed": func(e *Entry) { e.CompressedBytes-- },
	} {
		wrong := e
		change(&wrong)
		if _, err := r.restored(wrong); !errors.Is(err, ErrDamaged) {
			t.Errorf("with another %s it was restored with %v", name, err)
		}
	}
	s := New(Config{MaxBytes: e.Bytes - 1}, Deps{Broker: r.broker}).Of(0, filepath.Join(t.TempDir(), "p.db"))
	if err := s.Restore(t.Context(), e); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit it was restored with %v", err)
	}
}

// Another log's snapshot, of another life of the deployment, is no reason to trim, and is not kept.
func TestOtherLogsSnapshots(t *testing.T) {
	r := newRig(t)
	one, two := r.made(r.shelf()), r.made(r.shelf())
	one.LogID, two.LogID = "another", "another"
	value, err := encodePointer([]Entry{two, one})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := r.broker.JS.KeyValue(t.Context(), broker.BucketSnapshots)
	if err == nil {
		_, err = kv.Put(t.Context(), "0", value)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.trim(r.shelf(), 0)
	r.sound(r.made(r.shelf()).Seq)
}

// "None" and "cannot tell" are different answers.
func TestListOfAnUnreadableBucket(t *testing.T) {
	r := newRig(t)
	r.made(r.shelf())
	kv, err := r.broker.JS.KeyValue(t.Context(), broker.BucketSnapshots)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"", "{", "null", `{"format":2,"snapshots":[]}`, `{"format":1,"snapshots":[{"object":"1/2-x"}]}`} {
		if _, err := kv.PutString(t.Context(), "0", value); err != nil {
			t.Fatal(err)
		}
		if entries, err := r.shelf().List(t.Context()); err == nil {
			t.Errorf("%q is read as %v", value, entries)
		}
		if _, err := r.shelf().Make(t.Context(), r.store, nil); err == nil {
			t.Errorf("%q was replaced", value)
		}
	}
	if err := r.broker.JS.DeleteKeyValue(t.Context(), broker.BucketSnapshots); err != nil {
		t.Fatal(err)
	}
	if entries, err := r.shelf().List(t.Context()); err == nil {
		t.Errorf("a bucket that is gone is read as %v", entries)
	}
	r.srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if entries, err := r.shelf().List(ctx); err == nil {
		t.Errorf("a broker that is away is read as %v", entries)
	}
}

// The copy is checked before it takes the place of the log: once more if it is damaged, for it may have been the copying.
func TestDamagedCopyIsNoSnapshot(t *testing.T) {
	r := newRig(t)
	r.advance()
	flipping := func(times int) source {
		return func(ctx context.Context, path string) (store.Copied, error) {
			c, err := r.store.CopyTo(ctx, path)
			if times--; err == nil && times >= 0 {
				err = flip(path)
			}
			return c, err
		}
	}
	if _, err := r.shelf().Make(t.Context(), flipping(2), nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("two damaged copies: %v", err)
	}
	r.sound()
	if _, err := r.shelf().Make(t.Context(), flipping(1), nil); err != nil {
		t.Errorf("one damaged copy: %v", err)
	}
	r.sound(r.seq)
}

// flip damages an entry: the hexadecimal noise fills most pages.
func flip(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, b := info.Size()/2, make([]byte, 4096)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	for i := range b {
		b[i] ^= 0x10
	}
	_, err = f.WriteAt(b, at)
	return err
}

// The object is one for the library and its command line, too.
func TestObjectIsOneForTheLibrary(t *testing.T) {
	r := newRig(t)
	e := r.made(r.shelf())
	objects, err := r.broker.JS.ObjectStore(t.Context(), broker.StoreSnapshots)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), natstest.Patience)
	defer cancel()
	result, err := objects.Get(ctx, e.Object)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(result) // its checksum is compared at the end
	if err != nil || int64(len(data)) != e.CompressedBytes {
		t.Errorf("%d bytes of %d, %v", len(data), e.CompressedBytes, err)
	}
	r.made(r.shelf())
	r.made(r.shelf())
	if _, err := objects.GetInfo(ctx, e.Object); !errors.Is(err, jetstream.ErrObjectNotFound) {
		t.Errorf("metadata of an object that was removed: %v", err)
	}
}

// Whoever waited for its turn looks again whether there is still a reason: while a partition moves two workers mean to make its first snapshot.
func TestMakeOnAnOccasionThatPassed(t *testing.T) {
	r := newRig(t)
	s := r.shelf()
	r.advance()
	if _, err := s.Make(t.Context(), r.store, &Occasion{}); err != nil {
		t.Fatal(err)
	}
	r.advance()
	if _, err := s.Make(t.Context(), r.store, &Occasion{}); !errors.Is(err, ErrRaced) {
		t.Errorf("a second first one: %v", err)
	}
	kept, err := s.List(t.Context())
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept are %v, %v", kept, err)
	}
	if _, err := s.Make(t.Context(), r.store, &Occasion{Newest: kept[0].Object}); err != nil {
		t.Errorf("the second one: %v", err)
	}
}
