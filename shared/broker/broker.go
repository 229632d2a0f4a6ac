// Package broker knows how triggerd uses NATS: names of streams, subjects and buckets, the partition
// function, how they are made, and how one is recognised again.
//
// # Usage
//
// Every process calls Ensure once, before anything else, and CheckLog after every reconnect; a command that only looks, or decides, calls Open.
// LastSeq, Extent, Message, LastEvents, KVGet, LastOf and NextOf read from the stream's leader, so they see all that was acknowledged before
// they were called. That is as far as leaders know: one that was cut off or frozen takes itself for the leader for some seconds more (a group of three
// gives that up after 10 to 20 s). So what a read lacks may be acted on if that does no harm, or if it is lacking for longer than that.
//
// # Identity
//
// A log is made once. Its id is claimed in the bucket DEPLOYMENT as "intended" before the streams exist, written into the
// metadata of TRIGGERS-p and EVENTS-p when they are made, and marked "created" when they are made and the log's first
// record is stored. A crash anywhere in between is picked up by the next Ensure. From "created" on the streams are never
// made again: a new stream would hand out the sequences of the old one a second time.
//
// # Failure
//
// ErrPartitions, ErrLogMissing and ErrLogForeign need a person; they say what to do. Ensure goes on without a log that is missing, and CheckLog tells
// whoever uses it. While the broker is away Ensure tries again until its context ends, and so it does while something is missing that this user may not make. A stream with other settings
// than wanted is no failure: see Differences. AskSync tells what an acknowledgement is worth.
//
// # Concurrency
//
// A Broker is safe for concurrent use. Several processes may Ensure the same deployment at once.
package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrPartitions: the data was made with another number of partitions.
	ErrPartitions = errors.New("partition count differs")
	// ErrLogMissing: a stream that was made is gone.
	ErrLogMissing = errors.New("log is missing")
	// ErrLogForeign: a stream has this name, but it is not the one that was made.
	ErrLogForeign = errors.New("log is not the known one")
)

// Broker is one process's access to a deployment's streams. Safe for concurrent use.
type Broker struct {
	Conn *nats.Conn
	JS   jetstream.JetStream

	settings  Settings
	logIDs    []string // by partition
	differing []Difference
	denials   *denials
}

// Partitions is the deployment's number of partitions.
func (b *Broker) Partitions() int { return b.settings.Partitions }

// Settings is what Ensure was called with, defaults filled in.
func (b *Broker) Settings() Settings { return b.settings }

// LogID is the identity of partition p's log, as recorded when it was created.
func (b *Broker) LogID(p int) string { return b.logIDs[p] }

// CheckLog asks the leaders of partition p's streams who they are and compares with LogID. Call it at start and after
// every reconnect. Its errors wrap ErrLogMissing, ErrLogForeign or ErrPartitions, or are the broker's.
func (b *Broker) CheckLog(ctx context.Context, p int) error {
	for _, name := range []string{TriggersStream(p), EventsStream(p)} {
		if _, err := b.known(ctx, name, p, b.logIDs[p]); err != nil {
			return fmt.Errorf("check stream %s: %w", name, err)
		}
	}
	return nil
}

// known reads a stream that must be there and must be partition p's.
func (b *Broker) known(ctx context.Context, name string, p int, logID string) (*jetstream.StreamInfo, error) {
	info, err := b.info(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w (log id %s): restore it from a backup; to give up all that it held, delete what is left of "+
			"streams %s and %s, and key %s in bucket %s", ErrLogMissing, logID, TriggersStream(p), EventsStream(p), logKey(p), BucketDeployment)
	}
	if err != nil {
		return nil, err
	}
	return info, b.recognise(info, logID)
}

// recognise compares what a stream says of itself with what is known.
func (b *Broker) recognise(info *jetstream.StreamInfo, logID string) error {
	meta := info.Config.Metadata
	if meta[metaLogID] != logID {
		return fmt.Errorf("%w: it has log id %q, known is %q: restore the known one, or point this process at the right broker",
			ErrLogForeign, meta[metaLogID], logID)
	}
	return b.samePartitions(meta[metaPartitions])
}

func (b *Broker) samePartitions(have string) error {
	if want := fmt.Sprint(b.settings.Partitions); have != want {
		return fmt.Errorf("%w: the data was made with %s partitions, this process is set to %s: set it to %[2]s (the count is fixed "+
			"for the life of the data)", ErrPartitions, have, want)
	}
	return nil
}

// LastSeq asks the stream's leader for the last sequence of TRIGGERS-p.
func (b *Broker) LastSeq(ctx context.Context, p int) (uint64, error) {
	_, last, err := b.Extent(ctx, p)
	return last, err
}

// Message reads one message of TRIGGERS-p from the leader. jetstream.ErrMsgNotFound if it is not there.
func (b *Broker) Message(ctx context.Context, p int, seq uint64) (*jetstream.RawStreamMsg, error) {
	return b.read(ctx, TriggersStream(p), messageQuery{Seq: seq})
}

// LastEvents reads the last message of EVENTS-p from the leader; nil if there is none yet.
func (b *Broker) LastEvents(ctx context.Context, p int) (*jetstream.RawStreamMsg, error) {
	return b.lastOrNone(ctx, EventsStream(p), EventsSubject(p))
}

// KVGet reads a key from the leader of its bucket, where jetstream's own Get may ask a follower that is behind. The
// revision is the entry's sequence. jetstream.ErrKeyNotFound if there is none.
func (b *Broker) KVGet(ctx context.Context, bucket, key string) (value []byte, revision uint64, err error) {
	e, err := b.entryOf(ctx, bucket, key)
	if err != nil {
		return nil, 0, err
	}
	if !e.live {
		return nil, 0, jetstream.ErrKeyNotFound
	}
	return e.value, e.revision, nil
}

// entry is a key of a bucket. One that is not live has no value; its revision is that of the marker which its deletion or end left, or 0.
type entry struct {
	bucket, key string
	value       []byte
	revision    uint64
	live        bool
}

func (b *Broker) entryOf(ctx context.Context, bucket, key string) (entry, error) {
	e := entry{bucket: bucket, key: key}
	msg, err := b.lastOrNone(ctx, bucketStreamPrefix+bucket, bucketSubject(bucket, key))
	if err != nil || msg == nil {
		return e, err
	}
	e.value, e.revision = msg.Data, msg.Sequence
	e.live = msg.Header.Get("KV-Operation") == "" && msg.Header.Get("Nats-Marker-Reason") == "" // else deleted, purged or expired
	return e, nil
}

// messageQuery is a request to $JS.API.STREAM.MSG.GET.
type messageQuery struct {
	Seq           uint64 `json:"seq,omitempty"`
	LastBySubject string `json:"last_by_subj,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"` // at Seq or after it
}

// read asks a stream's leader for a message. Whether the stream allows direct gets, which followers answer, is
// somebody's setting; this does not depend on it.
func (b *Broker) read(ctx context.Context, stream string, query messageQuery) (*jetstream.RawStreamMsg, error) {
	var reply struct {
		Message storedMessage `json:"message"`
	}
	if err := b.ask(ctx, "$JS.API.STREAM.MSG.GET."+stream, query, &reply); err != nil {
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = jetstream.ErrMsgNotFound
		}
		return nil, fmt.Errorf("read message of %s: %w", stream, err)
	}
	return reply.Message.raw()
}
