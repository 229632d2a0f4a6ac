package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// An object lies in the store as the library's object stores have it, so that the nats command shows and copies it. It is written and read by hand
// all the same: the library publishes an object's metadata before its chunks are acknowledged, has up to 4000 chunks in
// flight, and waits without an answer for a chunk that is gone.
const objectStream = "OBJ_" + broker.StoreSnapshots

// place is where an object lies: 7/10482-abc has the chunks $O.SNAPSHOT-DATA.C.7.10482.abc. The dots let one partition's be listed.
type place struct {
	name          string
	chunks, sheet string // subjects of the chunks and of the metadata
	nuid          string
}

const chunkPrefix = "$O." + broker.StoreSnapshots + ".C."

func placeOf(name string) place {
	nuid := strings.NewReplacer("/", ".", "-", ".").Replace(name)
	return place{name: name, nuid: nuid, chunks: chunkPrefix + nuid,
		sheet: "$O." + broker.StoreSnapshots + ".M." + base64.URLEncoding.EncodeToString([]byte(name))}
}

// placeAt is the place whose chunks have a subject.
func placeAt(subject string) (place, bool) {
	parts := strings.Split(strings.TrimPrefix(subject, chunkPrefix), ".")
	if len(parts) != 3 || !strings.HasPrefix(subject, chunkPrefix) {
		return place{}, false
	}
	return placeOf(parts[0] + "/" + parts[1] + "-" + parts[2]), true
}

// objectWriter is an object in the making. It takes what is written to it, and sends it in chunks, one after the other, each acknowledged before
// the next one is sent.
type objectWriter struct {
	ctx   context.Context
	s     *Shelf
	place place
	duty  *duty

	buf  []byte
	sum  hash.Hash
	size int64
	sent int // chunks
	err  error
}

func (s *Shelf) newWriter(ctx context.Context, at place, work *duty) *objectWriter {
	return &objectWriter{ctx: ctx, s: s, place: at, duty: work, buf: make([]byte, 0, s.cfg.ChunkBytes), sum: sha256.New()}
}

func (u *objectWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		m := min(len(p), cap(u.buf)-len(u.buf))
		u.buf = append(u.buf, p[:m]...)
		n, p = n+m, p[m:]
		if len(u.buf) == cap(u.buf) {
			if u.flush(); u.err != nil {
				return n, u.err
			}
		}
	}
	return n, nil
}

// flush sends what is left. After an error nothing more is sent.
func (u *objectWriter) flush() error {
	if len(u.buf) > 0 && u.err == nil {
		u.err = u.send()
	}
	return u.err
}

func (u *objectWriter) send() error {
	defer u.duty.waited(time.Now())
	if err := u.s.pace.wait(u.ctx, len(u.buf)); err != nil {
		return err
	}
	if err := u.s.fail(StepUpload); err != nil {
		return err
	}
	if err := u.s.publish(u.ctx, &nats.Msg{Subject: u.place.chunks, Data: u.buf}); err != nil {
		return fmt.Errorf("chunk %d: %w", u.sent+1, err)
	}
	u.sum.Write(u.buf)
	u.size += int64(len(u.buf))
	u.sent++
	u.buf = u.buf[:0]
	return nil
}

// seal publishes the metadata.
func (u *objectWriter) seal() error {
	info := jetstream.ObjectInfo{Bucket: broker.StoreSnapshots, NUID: u.place.nuid, Size: uint64(u.size), Chunks: uint32(u.sent),
		Digest:     jetstream.GetObjectDigestValue(u.sum),
		ObjectMeta: jetstream.ObjectMeta{Name: u.place.name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(u.s.cfg.ChunkBytes)}}}
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: u.place.sheet, Header: nats.Header{}, Data: data}
	msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	return u.s.publish(u.ctx, msg)
}

// publish stores one message. What is not acknowledged in time counts as not stored: the object is given up as a whole.
func (s *Shelf) publish(ctx context.Context, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	_, err := s.broker.JS.PublishMsg(ctx, msg, jetstream.WithExpectStream(objectStream))
	return err
}

// objectReader reads an object's chunks from the leader of the store. What is definitely not there is ErrDamaged.
type objectReader struct {
	ctx   context.Context
	s     *Shelf
	place place
	pace  *throttle // nil: as fast as it goes
	duty  *duty     // nil: without rests

	chunks int // that are still to come
	next   uint64
	left   int64 // bytes that are still to come
	buf    []byte
}

func (s *Shelf) newReader(ctx context.Context, e *Entry, pace *throttle, work *duty) (*objectReader, error) {
	o := &objectReader{ctx: ctx, s: s, place: placeOf(e.Object), pace: pace, duty: work, next: 1, left: e.CompressedBytes}
	msg, err := o.ask(func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.broker.LastOf(ctx, objectStream, o.place.sheet)
	})
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	var info jetstream.ObjectInfo
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		return nil, damaged("metadata: %v", err)
	}
	if info.Deleted || info.NUID != o.place.nuid || int64(info.Size) != e.CompressedBytes {
		return nil, damaged("its metadata is another object's, or that of a deleted one")
	}
	o.chunks = int(info.Chunks)
	return o, nil
}

func (o *objectReader) Read(p []byte) (int, error) {
	if len(o.buf) == 0 {
		if err := o.fetch(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.buf)
	o.buf = o.buf[n:]
	return n, nil
}

// fetch reads the next chunk.
func (o *objectReader) fetch() error {
	defer o.duty.waited(time.Now())
	if o.chunks == 0 {
		if o.left != 0 {
			return damaged("it is %d bytes short", o.left)
		}
		return io.EOF
	}
	msg, err := o.ask(func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return o.s.broker.NextOf(ctx, objectStream, o.place.chunks, o.next)
	})
	if err != nil {
		return fmt.Errorf("chunk: %w", err)
	}
	if len(msg.Data) == 0 || int64(len(msg.Data)) > o.left {
		return damaged("it is longer than it says")
	}
	o.buf, o.next = msg.Data, msg.Sequence+1
	o.left -= int64(len(msg.Data))
	o.chunks--
	return o.pace.wait(o.ctx, len(msg.Data))
}

// attempts is how often something is read before it is given up, or believed that it is not there: a server that is
// stopping says of every message that there is none.
const attempts = 4

func (o *objectReader) ask(read func(context.Context) (*jetstream.RawStreamMsg, error)) (msg *jetstream.RawStreamMsg, err error) {
	for try := range attempts {
		if try > 0 {
			if err := sleep(o.ctx, minRetry<<try); err != nil {
				return nil, err
			}
		}
		if msg, err = read(o.ctx); err == nil {
			return msg, nil
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, damaged("it is not in the store, or not whole")
	}
	return nil, err
}

const minRetry = 25 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// objects counts the chunks of each of the partition's objects, by subject.
func (s *Shelf) objects(ctx context.Context) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	stream, err := s.broker.JS.Stream(ctx, objectStream)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(chunkPrefix+strconv.Itoa(s.p)+".>"))
	if err != nil {
		return nil, err
	}
	return info.State.Subjects, nil
}

// remove takes an object away without a trace, its metadata first: what is left if that fails is found by its chunks.
func (s *Shelf) remove(ctx context.Context, at place) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	stream, err := s.broker.JS.Stream(ctx, objectStream)
	if err != nil {
		return err
	}
	for _, subject := range []string{at.sheet, at.chunks} {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("remove object %s: %w", at.name, err)
		}
	}
	return nil
}
