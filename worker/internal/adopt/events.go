package adopt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// end is where EVENTS-p ends.
type end struct {
	msg         *jetstream.RawStreamMsg // its last message; nil: there is none
	seq, number uint64                  // of that, and of the last event
	last        uint64                  // the stream's last sequence: that of a message that was purged, perhaps
}

func (r *run) lookAtEvents(ctx context.Context) (err error) {
	e := &r.events
	if e.last, err = r.Broker.EventsEnd(ctx, r.Partition); err != nil {
		return err
	}
	if e.msg, err = r.Broker.LastEvents(ctx, r.Partition); err != nil || e.msg == nil {
		return err
	}
	e.seq, e.last = e.msg.Sequence, max(e.last, e.msg.Sequence)
	_, e.number, err = numbers(e.msg)
	return err
}

// compare finds up to where log and EVENTS-p agree, and on the way what positions were seen.
func (r *run) compare(ctx context.Context) error {
	d, err := r.replay(ctx)
	if err != nil {
		return err
	}
	name, e := broker.EventsStream(r.Partition), &r.events
	switch {
	case e.number < d.base: // as the operator wants it
		r.report.Events, r.report.Lost = d.base, d.base-e.number
		r.Say("%s ends at event %d; those who have not read events %d to %d will never get them", name, e.number, e.number+1, d.base)
	case e.msg != nil:
		if r.report.Events, err = r.agree(ctx, d, e.msg); err != nil {
			return err
		}
		r.Say("the log leads to event %d, %s holds up to %d, and they agree up to %d", d.last(), name, e.number, r.report.Events)
		err = partition.VerifyEvents(ctx, r.Broker, r.Partition, e.msg) // the same event may have followed from another message, which workers do not believe
		if err != nil && !errors.Is(err, partition.ErrNotOfThisLog) {
			return err
		}
		if r.report.Events < e.number || err != nil {
			r.report.Marked = e.number
		}
	}
	if r.markTo > 0 || r.report.Marked > 0 || e.last > e.seq { // a message must follow the last one that there ever was
		r.markTo = max(r.markTo, e.last+1)
	}
	return nil
}

// agree walks EVENTS-p backwards to the last event that the log leads to. On the way the positions of those that it does not are seen.
func (r *run) agree(ctx context.Context, d *derived, msg *jetstream.RawStreamMsg) (uint64, error) {
	stream, err := r.Broker.JS.Stream(ctx, broker.EventsStream(r.Partition))
	if err != nil {
		return 0, err
	}
	oldest := stream.CachedInfo().State.FirstSeq
	for {
		first, last, err := numbers(msg)
		if err != nil {
			return 0, err
		}
		events, err := eventsOf(msg)
		if err != nil {
			return 0, err
		}
		if len(events) == 0 && last <= d.last() { // where an earlier adoption agreed
			return max(d.base, last), nil
		}
		for i := len(events) - 1; i >= 0; i-- {
			if number := first + uint64(i); d.is(number, events[i]) {
				return number, nil
			}
			r.seeEvent(events[i])
		}
		if msg.Sequence <= oldest {
			return max(d.base, min(d.last(), max(first, 1)-1)), nil // what is not there any more was dropped by age, not lost
		}
		if msg, err = r.previous(ctx, msg.Sequence-1); err != nil {
			return 0, err
		}
	}
}

func (r *run) previous(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	stream, err := r.Broker.JS.Stream(ctx, broker.EventsStream(r.Partition))
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetMsg(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("read message %d of %s: %w", seq, broker.EventsStream(r.Partition), err)
	}
	return msg, nil
}

// seeEvent notes the position of the trigger from which an event followed.
func (r *run) seeEvent(event []byte) {
	var e struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(event, &e) != nil {
		return
	}
	if id, err := record.ParseID(strings.TrimSuffix(e.ID, "-r")); err == nil && id.Partition == r.Partition && id.Position.Seq > r.report.Seen {
		r.see(id.Position.Seq, "an event followed from a message")
	}
}

func numbers(msg *jetstream.RawStreamMsg) (first, last uint64, err error) {
	first, err = strconv.ParseUint(msg.Header.Get(partition.HeaderFirstEvent), 10, 64)
	if err == nil {
		last, err = strconv.ParseUint(msg.Header.Get(partition.HeaderLastEvent), 10, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("message %d of %s does not say which events it carries: %w", msg.Sequence, msg.Subject, err)
	}
	return first, last, nil
}

func eventsOf(msg *jetstream.RawStreamMsg) (events []json.RawMessage, err error) {
	if err := json.Unmarshal(msg.Data, &events); err != nil {
		return nil, fmt.Errorf("read message %d of %s: %w", msg.Sequence, msg.Subject, err)
	}
	return events, nil
}

// mustMine is after how many messages to see again whether the partition still is this run's.
const mustMine = 256

// mark puts a message without events into EVENTS-p if that goes on beyond what the log leads to, or lacks something: it says at which number events go on. There are as
// many of them as it takes to reach the sequence that what there is to begin with knows; all but the last one say what EVENTS-p held, so that a run which
// was killed can be repeated. It comes after fill: once they are there nobody sees any more which positions followed by events are lost.
func (r *run) mark(ctx context.Context) error {
	if n := r.markTo - min(r.markTo, r.events.last); n > 1 {
		r.Say("putting %d messages into %s, up to the sequence that it had", n, broker.EventsStream(r.Partition))
	}
	for at, n := r.events.last, 0; at < r.markTo; n++ {
		if n%mustMine == 0 {
			if err := r.mine(ctx); err != nil {
				return err
			}
		}
		number := r.report.Events
		if at+1 < r.markTo {
			number -= r.report.Lost
		}
		text := strconv.FormatUint(number, 10)
		msg := &nats.Msg{Subject: broker.EventsSubject(r.Partition), Data: []byte("[]"), Header: nats.Header{
			partition.HeaderFirstEvent:      []string{text},
			partition.HeaderLastEvent:       []string{text},
			"Content-Type":                  []string{"application/cloudevents-batch+json"},
			jetstream.ExpectedStreamHeader:  []string{broker.EventsStream(r.Partition)},
			jetstream.ExpectedLastSeqHeader: []string{strconv.FormatUint(at, 10)},
		}}
		ack, err := r.Broker.JS.PublishMsg(ctx, msg)
		if err != nil {
			return fmt.Errorf("mark where events go on: %w", err)
		}
		at = ack.Sequence
	}
	if r.markTo > 0 {
		r.Say("message %d of %s says that events go on after %d", r.markTo, broker.EventsStream(r.Partition), r.report.Events)
	}
	return nil
}
