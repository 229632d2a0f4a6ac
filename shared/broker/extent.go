package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Log is how far a log reaches and how full it is.
type Log struct {
	First, Last     uint64 // sequences. In a log that holds nothing First is that of the next message, beyond Last
	Bytes, MaxBytes int64  // a log that would exceed MaxBytes refuses
}

// Log asks the stream's leader about TRIGGERS-p.
func (b *Broker) Log(ctx context.Context, p int) (Log, error) {
	info, err := b.info(ctx, TriggersStream(p))
	if err != nil {
		return Log{}, fmt.Errorf("read extent of %s: %w", TriggersStream(p), err)
	}
	return Log{First: info.State.FirstSeq, Last: info.State.LastSeq, Bytes: int64(info.State.Bytes), MaxBytes: info.Config.MaxBytes}, nil
}

// Extent is the first and the last sequence of Log.
func (b *Broker) Extent(ctx context.Context, p int) (first, last uint64, err error) {
	log, err := b.Log(ctx, p)
	return log.First, log.Last, err
}

// EventsEnd asks the stream's leader for the last sequence of EVENTS-p. If the stream was purged there is no message of that sequence any more.
func (b *Broker) EventsEnd(ctx context.Context, p int) (uint64, error) {
	info, err := b.info(ctx, EventsStream(p))
	if err != nil {
		return 0, fmt.Errorf("read end of %s: %w", EventsStream(p), err)
	}
	return info.State.LastSeq, nil
}

// Trim drops what is before seq from TRIGGERS-p; the message at seq stays, and must be there. It is an unfiltered purge, the only one that does
// not load the log's blocks under the lock that appends need. What is trimmed already is left alone.
func (b *Broker) Trim(ctx context.Context, p int, seq uint64) error {
	first, last, err := b.Extent(ctx, p)
	if err != nil || seq <= first { // the server would take 0 for everything
		return err
	}
	if seq > last { // and this as well: the next message would have that sequence
		return fmt.Errorf("trim %s up to %d: it ends at %d", TriggersStream(p), seq, last)
	}
	query := struct {
		Seq uint64 `json:"seq"`
	}{seq}
	var reply struct {
		Success bool `json:"success"`
	}
	if err := b.ask(ctx, "$JS.API.STREAM.PURGE."+TriggersStream(p), query, &reply); err != nil {
		return fmt.Errorf("trim %s up to %d: %w", TriggersStream(p), seq, err)
	}
	return nil
}

// LastOf reads the last message of a subject from the leader of a stream. jetstream.ErrMsgNotFound if there is none.
func (b *Broker) LastOf(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	return b.read(ctx, stream, messageQuery{LastBySubject: subject})
}

// NextOf reads the first message of a subject at seq or after it from the leader of a stream. jetstream.ErrMsgNotFound if there is none.
func (b *Broker) NextOf(ctx context.Context, stream, subject string, seq uint64) (*jetstream.RawStreamMsg, error) {
	return b.read(ctx, stream, messageQuery{Seq: seq, NextBySubject: subject})
}

// errUnread: the broker answers in the same way whether there is no message or it cannot be read, as by a server that is about to stop.
var errUnread = errors.New("there is a message, and it could not be read")

// lastOrNone reads the last message of a subject from the leader of a stream; nil if it is certain that there is none: the index, which is in memory, says
// so as well. One that came in between is read.
func (b *Broker) lastOrNone(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	for again := false; ; again = true {
		msg, err := b.LastOf(ctx, stream, subject)
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return msg, err
		}
		info, err := b.infoOf(ctx, stream, subject)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read message of %s: %w", stream, err)
		case info.State.Subjects[subject] == 0:
			return nil, nil
		case again:
			return nil, fmt.Errorf("read message of %s: %w", stream, errUnread)
		}
	}
}
