package adopt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// scratchSuffix is of the copy that the replay works on, beside the partition's file. The file itself must not be ahead of what is emitted.
const scratchSuffix = ".adopting"

// maxUsers is how many users the replay touches before it writes them to its copy.
const maxUsers = 50_000

// derived are the events that the log leads to: hashes of those after the base.
type derived struct {
	base   uint64 // number of the last event before
	hashes []uint64
}

func (d *derived) last() uint64 { return d.base + uint64(len(d.hashes)) }

// is says whether the event of that number is the one with these bytes; what the base covers was emitted before it was made.
func (d *derived) is(number uint64, event []byte) bool {
	return number <= d.base || number <= d.last() && d.hashes[number-d.base-1] == xxhash.Sum64(event)
}

// replay derives all events of the log after a base that fits: the file, or the first message.
func (r *run) replay(ctx context.Context) (*derived, error) {
	scratch := r.Path + scratchSuffix
	if err := os.MkdirAll(filepath.Dir(scratch), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(scratch); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was interrupted
		return nil, err
	}
	defer os.Remove(scratch)
	if err := r.lay(ctx, scratch); err != nil {
		return nil, err
	}
	st, err := store.Open(scratch, store.Options{LogID: r.Broker.LogID(r.Partition), Partition: r.Partition})
	if err != nil {
		return nil, fmt.Errorf("open copy of the base: %w", err)
	}
	defer st.Close()
	c, _ := st.Last()
	d := &derived{base: c.Head.Events}
	return d, r.apply(ctx, st, c, d)
}

func (r *run) apply(ctx context.Context, st *store.Store, c store.Checkpoint, d *derived) error {
	m := machine.New(r.Partition, c.Head, st)
	var event []byte
	emit := func(e *machine.Event) {
		event = e.AppendJSON(event[:0])
		d.hashes = append(d.hashes, xxhash.Sum64(event))
	}
	return r.read(ctx, c.Seq+1, func(msg jetstream.Msg, seq uint64, millis int64) error {
		if _, err := m.Apply(machine.Message{Seq: seq, Time: millis, Header: msg.Headers(), Payload: msg.Data()}, emit); err != nil {
			return err
		}
		if users, _ := st.Dirty(); users < maxUsers {
			return nil
		}
		st.Freeze(store.Checkpoint{Identity: store.Identity{LogID: r.Broker.LogID(r.Partition), Partition: r.Partition, Seq: seq}, Head: m.Head()})
		if err := st.Commit(); err != nil {
			return err
		}
		st.Release()
		return nil
	})
}

// read hands over the messages of the log from a sequence on to where it ended when it was looked at, without gaps.
func (r *run) read(ctx context.Context, from uint64, f func(msg jetstream.Msg, seq uint64, millis int64) error) error {
	if from > r.report.Found {
		return nil
	}
	consumer, err := r.Broker.JS.OrderedConsumer(ctx, broker.TriggersStream(r.Partition),
		jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from})
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	it, err := consumer.Messages(r.Broker.Prefetch())
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer it.Stop()
	for next := from; next <= r.report.Found; next++ {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if meta.Sequence.Stream != next {
			return fmt.Errorf("read log: message %d is followed by %d", next-1, meta.Sequence.Stream)
		}
		if err := f(msg, next, meta.Timestamp.UnixMilli()); err != nil {
			return fmt.Errorf("replay message %d: %w", next, err)
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}
