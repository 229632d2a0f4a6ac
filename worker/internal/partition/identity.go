package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// mark is one message of the log, so that it can be recognised. The zero mark stands before the first.
type mark struct {
	seq  uint64
	time int64 // the server's timestamp, Unix nanoseconds
	hash uint64
}

func markOf(seq uint64, at time.Time, payload []byte) mark {
	return mark{seq: seq, time: at.UnixNano(), hash: xxhash.Sum64(payload)}
}

// String is the form of a mark in HeaderFollowedFrom.
func (m mark) String() string { return fmt.Sprintf("%d %d %016x", m.seq, m.time, m.hash) }

func parseMark(text string) (m mark, err error) {
	if _, err = fmt.Sscanf(text, "%d %d %x", &m.seq, &m.time, &m.hash); err == nil && m.String() != text {
		err = errors.New("not in its shortest form")
	}
	return m, err
}

// foreign is a fault of identity: the log is not the one that was applied. It halts the partition once it was found
// for long enough: see doubt.
type foreign struct {
	what, do string
	cause    error
	trimmed  bool // the log goes on without it: what was applied is true, and old
}

func (f *foreign) Error() string {
	if f.cause != nil {
		return f.what + ": " + f.cause.Error()
	}
	return f.what
}

func (f *foreign) Unwrap() error { return f.cause }

const restoreLog = doNotDelete + "restore the log as it was (deploy/BACKUP.md) and type: worker resume " + thisOne + "; or go on with what is there: worker pause " + thisOne + ", then worker adopt " + thisOne + " -data-dir that of this worker"

// restoreMissing: of a log that is gone nothing can be adopted before it is there again.
const restoreMissing = doNotDelete + "worker pause " + thisOne + "; nats backup restore stream, of its back-up; worker adopt " + thisOne +
	" -data-dir that of this worker (deploy/BACKUP.md, Restore one log)"

// verify reads the log's identity from its leader: it is the log that the deployment knows, and the message at have is the one
// that was applied, or the log is whole if nothing was. Errors are *foreign, or the broker's.
func verify(ctx context.Context, b *broker.Broker, p int, have mark) error {
	if err := verifyLog(ctx, b, p); err != nil {
		return err
	}
	if have.seq == 0 {
		return verifyBeginning(ctx, b, p)
	}
	first, last, err := b.Extent(ctx, p)
	if err != nil {
		return err
	}
	if err := lostTail(last, have, nil); err != nil {
		return err
	}
	if have.seq < first {
		return &foreign{what: fmt.Sprintf("message %d, the last one applied, is not in the log any more: it begins with %d", have.seq, first), do: restoreLog, trimmed: true}
	}
	return verifyMessage(ctx, b, p, have)
}

// verifyLog sees whether the log is the one that the deployment knows.
func verifyLog(ctx context.Context, b *broker.Broker, p int) error {
	err := b.CheckLog(ctx, p)
	if errors.Is(err, broker.ErrLogMissing) || errors.Is(err, broker.ErrLogForeign) || errors.Is(err, broker.ErrPartitions) {
		if errors.Is(err, broker.ErrLogMissing) {
			return &foreign{what: "its log is gone", do: restoreMissing, cause: err}
		}
		return &foreign{what: "the log is not the known one", do: restoreLog, cause: err}
	}
	return err
}

// confirmed is what a fault of identity amounts to once it was found often enough.
func (p *Partition) confirmed(f *foreign) error {
	if f.trimmed {
		return fmt.Errorf("%w: %w", errTrimmed, f)
	}
	return p.halt(f.what, f.do, f.cause)
}

// verifyBeginning sees whether a partition without a file can replay: the first record is written before anybody runs, so a log without it was
// trimmed. Without this, one that was emptied would be waited for without end.
func verifyBeginning(ctx context.Context, b *broker.Broker, p int) error {
	_, err := b.Message(ctx, p, 1)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &foreign{what: "there is no file, and the log does not begin with its first message any more", do: restoreAnything}
	}
	return err
}

func verifyMessage(ctx context.Context, b *broker.Broker, p int, have mark) error {
	msg, err := b.Message(ctx, p, have.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &foreign{what: fmt.Sprintf("message %d, the last one applied, is not in the log any more", have.seq), do: restoreLog}
	}
	if err != nil {
		return err
	}
	if found := markOf(have.seq, msg.Time, msg.Data); found != have {
		return &foreign{do: restoreLog, what: fmt.Sprintf("message %d is not the one that was applied: stored at %s with hash %016x, applied was %s with hash %016x",
			have.seq, time.Unix(0, found.time).UTC().Format(time.RFC3339Nano), found.hash,
			time.Unix(0, have.time).UTC().Format(time.RFC3339Nano), have.hash)}
	}
	return nil
}
