package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// Steps of Make, in their order, and of Trim.
const (
	StepLook     = "look"
	StepCopy     = "copy"
	StepCheck    = "check"
	StepUpload   = "upload" // before each chunk
	StepSeal     = "seal"
	StepReadBack = "read-back"
	StepPoint    = "point"
	StepDrop     = "drop"
	StepTrim     = "trim"
)

// Steps are all of them: the values of a label.
func Steps() []string {
	return []string{StepLook, StepCopy, StepCheck, StepUpload, StepSeal, StepReadBack, StepPoint, StepDrop, StepTrim}
}

// StepError says at which step a snapshot came to nothing.
type StepError struct {
	Step string
	Err  error
}

func (e *StepError) Error() string { return "snapshot, at " + e.Step + ": " + e.Err.Error() }

func (e *StepError) Unwrap() error { return e.Err }

// Source is what a snapshot is made of.
type Source interface {
	CopyTo(ctx context.Context, path string) (store.Copied, error)
}

// Occasion is why a snapshot is made.
type Occasion struct {
	Newest string      // object of the newest one, as far as the caller knows; empty: there was none
	Hurry  func() bool // asked now and then: whether it must not take its time; nil: it may
	Twin   bool        // the newest one may get a second of the same checkpoint, if that lets go of more of the log
}

// Make makes a snapshot of the source's last checkpoint and returns which ones are kept now, newest first. Errors are *StepError. They wrap
// ErrNothingNew and ErrRaced, which are no faults; store.ErrCorrupt if two copies in a row were damaged, which says that the source is;
// and the context's.
//
// It takes Config.Share of a processor, but for the copying. It may have to wait for the snapshot of another partition; if on its occasion somebody made
// one meanwhile it is ErrRaced. Without an occasion (nil) another one is made anyway.
func (s *Shelf) Make(ctx context.Context, src Source, why *Occasion) ([]Entry, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, &StepError{StepLook, ctx.Err()}
	}
	m := &making{Shelf: s, src: src, why: why, path: s.path + copySuffix, begun: time.Now(), duty: newDuty(ctx, s.cfg.Share, why.hurry())}
	err := m.run(ctx)
	if err != nil && !errors.Is(err, ErrAborted) {
		m.giveUp(ctx)
	}
	if !errors.Is(err, ErrAborted) {
		s.discard(m.path)
	}
	s.deps.Metrics.made(s.label(), time.Since(m.begun), err)
	return m.kept, err
}

// making is one snapshot in the making.
type making struct {
	*Shelf
	src   Source
	why   *Occasion
	path  string // of the copy
	begun time.Time
	duty  *duty

	before   []Entry           // what was kept at first
	revision uint64            // of the pointer at first
	found    map[string]uint64 // the chunks that were there at first
	entry    Entry
	upload   *objectWriter // nil: nothing is in the store yet
	unsure   bool          // whether the pointer was set
	kept     []Entry
}

func (m *making) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{StepLook, m.lookFirst}, {StepCopy, m.copy}, {StepCheck, m.check}, {StepUpload, m.send}, {StepSeal, m.seal}, {StepReadBack, m.readBack},
		{StepPoint, m.point}, {StepDrop, m.drop},
	} {
		err := ctx.Err()
		if err == nil && step.name != StepUpload { // which has one for each chunk
			err = m.fail(step.name)
		}
		if err == nil {
			err = step.do(ctx)
		}
		if err != nil {
			return &StepError{step.name, err}
		}
	}
	return nil
}

// lookFirst sees what is there. What it does not see is never removed.
func (m *making) lookFirst(ctx context.Context) (err error) {
	if m.before, m.revision, err = m.look(ctx); err != nil {
		return err
	}
	logID := m.broker.LogID(m.p)
	m.before = slices.DeleteFunc(m.before, func(e Entry) bool { return e.LogID != logID })
	if m.why.passed(m.before) {
		return ErrRaced
	}
	m.found, err = m.objects(ctx)
	return err
}

func (o *Occasion) hurry() func() bool {
	if o == nil {
		return nil
	}
	return o.Hurry
}

// passed says whether there is a snapshot that the caller does not know of.
func (o *Occasion) passed(kept []Entry) bool {
	return o != nil && len(kept) > 0 && kept[0].Object != o.Newest
}

// twin says whether another snapshot at seq is as good as a newer one: an older one, or none, stands between the newest one and trimming up to it.
func (m *making) twin(seq uint64) bool {
	return m.why != nil && m.why.Twin && seq == m.before[0].Seq && (len(m.before) < Kept || m.before[Kept-1].Seq < seq)
}

func (m *making) copy(ctx context.Context) error {
	c, err := m.src.CopyTo(ctx, m.path)
	if err != nil {
		return err
	}
	if len(m.before) > 0 && c.Seq <= m.before[0].Seq && !m.twin(c.Seq) {
		return fmt.Errorf("%w, of %d", ErrNothingNew, m.before[0].Seq)
	}
	if c.Bytes > m.cfg.MaxBytes {
		return fmt.Errorf("the file has %d bytes, over the limit of %d for snapshots: raise it on all workers", c.Bytes, m.cfg.MaxBytes)
	}
	m.entry = Entry{Identity: c.Identity, Object: objectName(m.p, c.Seq, nuid.Next()), Digest: c.Digest, Events: c.Head.Events,
		EmittedSeq: c.EmittedSeq, Bytes: c.Bytes, MadeAt: m.deps.Now()}
	return nil
}

// check reads every entry of the copy: damage must not take the place of the log. If it was the copying that went wrong, a second copy is sound.
func (m *making) check(ctx context.Context) error {
	err := m.verify(m.duty.rest, m.path, &m.entry)
	if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	m.log.Warn("copy for a snapshot is damaged, making another one", "seq", m.entry.Seq, "cause", err)
	if err := m.copy(ctx); err != nil {
		return err
	}
	return m.verify(m.duty.rest, m.path, &m.entry)
}

// verify holds a file to an entry.
func (s *Shelf) verify(rest func() error, path string, e *Entry) (err error) {
	st, err := store.OpenReadOnly(path, store.Options{LogID: s.broker.LogID(s.p), Partition: s.p})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if last, ok := st.Last(); !ok || last.Identity != e.Identity || st.LastDigest() != e.Digest {
		return fmt.Errorf("%w: it holds checkpoint %+v with digest %016x, expected is %+v with %016x", store.ErrCorrupt,
			last.Identity, st.LastDigest(), e.Identity, e.Digest)
	}
	return st.VerifyWith(rest)
}

// send compresses the copy into the store.
func (m *making) send(ctx context.Context) error {
	file, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer file.Close()
	m.upload = m.newWriter(ctx, placeOf(m.entry.Object), m.duty)
	enc, err := zstd.NewWriter(m.upload, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyBuffer(enc, &resting{io.TeeReader(file, sum), m.duty}, make([]byte, 128<<10))
	if closing := enc.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if err := m.upload.flush(); err != nil {
		return err
	}
	m.entry.SHA256, m.entry.CompressedBytes = hex.EncodeToString(sum.Sum(nil)), m.upload.size
	return nil
}

// window is how far back the compressor looks; a decompressor needs as much.
const window = 1 << 20

func (m *making) seal(context.Context) error { return m.upload.seal() }

// readBack reads the object as a restore would.
func (m *making) readBack(ctx context.Context) error {
	err := m.fetch(ctx, &m.entry, io.Discard, m.pace, m.duty)
	if errors.Is(err, ErrDamaged) && m.moved(ctx) {
		return fmt.Errorf("%w (%w)", ErrRaced, err) // and whoever did that tidied up
	}
	return err
}

// moved says whether somebody else has set the pointer.
func (m *making) moved(ctx context.Context) bool {
	_, revision, err := m.look(ctx)
	return err == nil && revision != m.revision
}

// borneOut: the log has the message at which the snapshot stands. One of a tail that the log has lost meanwhile must not push one off the list that
// still fits: there would be nothing to go on with.
func (m *making) borneOut(ctx context.Context) error {
	msg, err := m.broker.Message(ctx, m.p, m.entry.Seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound) && m.moved(ctx):
		return ErrRaced // and whoever did that has trimmed the log
	case err != nil:
		return fmt.Errorf("look for message %d in the log: %w", m.entry.Seq, err)
	case msg.Time.UnixNano() != m.entry.Time || xxhash.Sum64(msg.Data) != m.entry.Hash:
		return fmt.Errorf("message %d in the log is not the one that was applied", m.entry.Seq)
	}
	return nil
}

// point makes the snapshot one. From here on Make does not fail any more.
func (m *making) point(ctx context.Context) error {
	if err := m.borneOut(ctx); err != nil {
		return err
	}
	unchanged, err := m.objects(ctx)
	if err != nil {
		return err
	}
	for subject, n := range m.found {
		if unchanged[subject] != n {
			delete(m.found, subject) // somebody is at work there, or has removed it
		}
	}
	kept := append([]Entry{m.entry}, m.before...)
	kept = kept[:min(len(kept), Kept)]
	value, err := encodePointer(kept)
	if err != nil {
		return err
	}
	if err := m.swap(ctx, value); err != nil {
		return err
	}
	m.kept = kept
	return nil
}

// swap sets the pointer if it is still as it was.
func (m *making) swap(ctx context.Context, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.RequestTimeout)
	defer cancel()
	bucket, err := m.broker.JS.KeyValue(ctx, broker.BucketSnapshots)
	if err != nil {
		return err
	}
	key := strconv.Itoa(m.p)
	if m.revision == 0 {
		_, err = bucket.Create(ctx, key, value)
	} else {
		_, err = bucket.Update(ctx, key, value, m.revision)
	}
	if err == nil {
		return nil
	}
	return m.judge(ctx, err)
}

// judge finds out what a swap without a clear answer has done. A refusal, too, may be that of a copy of the request.
func (m *making) judge(ctx context.Context, cause error) error {
	m.unsure = true
	now, revision, err := m.look(ctx)
	switch {
	case err != nil:
		return errors.Join(cause, err)
	case slices.ContainsFunc(now, func(e Entry) bool { return e.Object == m.entry.Object }):
		return nil
	case revision != m.revision: // so the request, even if it is still on its way, will be refused
		m.unsure = false
		return ErrRaced
	}
	return cause
}

// drop removes what nothing names. Nobody can come to name it: whoever put it there before this Make began, and is not done yet, expects
// a revision of the pointer that is history.
func (m *making) drop(ctx context.Context) error {
	for subject := range m.found {
		at, ok := placeAt(subject)
		if !ok || slices.ContainsFunc(m.kept, func(e Entry) bool { return e.Object == at.name }) {
			continue
		}
		if err := m.remove(ctx, at); err != nil { // the next Make will
			m.deps.Metrics.failed(m.label(), StepDrop)
			m.log.Warn("old snapshot was not removed", "object", at.name, "cause", err)
		}
	}
	return nil
}

// giveUp removes the object, unless a pointer might name it.
func (m *making) giveUp(ctx context.Context) {
	if m.upload == nil || m.unsure || m.kept != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(m.cfg.RequestTimeout, 2*time.Second))
	defer cancel()
	if err := m.remove(ctx, m.upload.place); err != nil {
		m.log.Info("object of a snapshot that came to nothing was not removed; a later one will", "object", m.upload.place.name, "cause", err)
	}
}

func (s *Shelf) fail(step string) error {
	if s.deps.Failpoint == nil {
		return nil
	}
	if err := s.deps.Failpoint(step); err != nil {
		return fmt.Errorf("%w: at %s: %w", ErrAborted, step, err)
	}
	return nil
}
