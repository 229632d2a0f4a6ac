package partition

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Headers of a message of EVENTS-p: the numbers of the events that it carries, and what the last of them followed from.
const (
	HeaderFirstEvent = "Triggerd-First-Event"
	HeaderLastEvent  = "Triggerd-Last-Event"

	// HeaderFollowedFrom names a message of TRIGGERS-p: its sequence, the server's timestamp in Unix nanoseconds, and the xxHash64 of its payload in
	// hexadecimal. Messages of older builds, and the one by which an adoption says where events go on, do not have it.
	HeaderFollowedFrom = "Triggerd-Followed-From"
)

const contentType = "application/cloudevents-batch+json"

// place is the end of EVENTS-p: its last message and the last event in that.
type place struct {
	seq    uint64
	number uint64
}

// readPlace reads the end of EVENTS-p from its leader. If that lies beyond the message that is known to be of this log, it must have followed from
// what is in the log: a log that lost its tail may have grown since, to as many events as followed from what is lost. Errors are *foreign, or the broker's.
func readPlace(ctx context.Context, b *broker.Broker, p int, known uint64) (place, error) {
	msg, err := b.LastEvents(ctx, p)
	if err != nil || msg == nil {
		return place{}, err
	}
	number, err := strconv.ParseUint(msg.Header.Get(HeaderLastEvent), 10, 64)
	if err != nil {
		return place{}, &foreign{do: doNotDelete + "find out who else writes to this stream, and keep it from that" + thenResume, cause: err,
			what: fmt.Sprintf("message %d of %s does not say which events it carries", msg.Sequence, broker.EventsStream(p))}
	}
	if msg.Sequence > known {
		if err := VerifyEvents(ctx, b, p, msg); err != nil {
			return place{}, err
		}
	}
	return place{seq: msg.Sequence, number: number}, nil
}

// VerifyEvents sees whether the last event in a message of EVENTS-p followed from what is in the log. What was trimmed away, and a message that does not say,
// is believed. ErrNotOfThisLog is the answer that it did not; other errors are the broker's.
func VerifyEvents(ctx context.Context, b *broker.Broker, p int, msg *jetstream.RawStreamMsg) error {
	text := msg.Header.Get(HeaderFollowedFrom)
	if text == "" {
		return nil
	}
	fault := &foreign{do: restoreLog, cause: ErrNotOfThisLog}
	from, err := parseMark(text)
	if err != nil {
		fault.what = fmt.Sprintf("message %d of %s does not say which message of the log it followed from (%.100q)", msg.Sequence, broker.EventsStream(p), text)
		return fault
	}
	fault.what = fmt.Sprintf("the last event in %s (%s, in message %d) followed from message %d of the log, stored at %s with hash %016x", broker.EventsStream(p),
		msg.Header.Get(HeaderLastEvent), msg.Sequence, from.seq, time.Unix(0, from.time).UTC().Format(time.RFC3339Nano), from.hash)
	found, err := b.Message(ctx, p, from.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		first, _, err := b.Extent(ctx, p)
		if err != nil || from.seq < first {
			return err
		}
		fault.what += ", which is not there"
		return fault
	}
	if err != nil {
		return err
	}
	if there := markOf(found.Sequence, found.Time, found.Data); there != from {
		fault.what += fmt.Sprintf("; there is another one now, stored at %s with hash %016x", time.Unix(0, there.time).UTC().Format(time.RFC3339Nano), there.hash)
		return fault
	}
	return nil
}

// ErrNotOfThisLog: events followed from a message that the log lost.
var ErrNotOfThisLog = errors.New("the events are not of this log")

// eventsLost is the alarm that EVENTS-p ends before what was acknowledged.
func eventsLost(p int, found, want place) error {
	return &foreign{what: fmt.Sprintf("%s lost events: it ends at event %d (message %d), acknowledged was event %d (message %d)",
		broker.EventsStream(p), found.number, found.seq, want.number, want.seq),
		do: doNotDelete + "restore the stream (deploy/BACKUP.md), its readers have seen events that are not in it any more" + thenResume +
			"; or go on with what is there: worker pause " + thisOne + ", then worker adopt " + thisOne + " -margin 0 -data-dir that of this worker"}
}
