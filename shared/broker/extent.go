package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Extent asks the stream's leader for the first and the last sequence of TRIGGERS-p. In a log that holds nothing the first one is that of the next
// message, so it is beyond the last one.
func (b *Broker) Extent(ctx context.Context, p int) (first, last uint64, err error) {
	var reply struct {
		State struct {
			FirstSeq uint64 `json:"first_seq"`
			LastSeq  uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if err := b.ask(ctx, "$JS.API.STREAM.INFO."+TriggersStream(p), nil, &reply); err != nil {
		return 0, 0, fmt.Errorf("read extent of %s: %w", TriggersStream(p), err)
	}
	return reply.State.FirstSeq, reply.State.LastSeq, nil
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
