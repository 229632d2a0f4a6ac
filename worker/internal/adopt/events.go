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

// compare finds up to where log and EVENTS-p agree, and on the way what positions were seen.
func (r *run) compare(ctx context.Context) error {
	d, err := r.replay(ctx)
	if err != nil {
		return err
	}
	end, err := r.Broker.LastEvents(ctx, r.Partition)
	if err != nil {
		return err
	}
	var number uint64 // 0: there is none
	if end != nil {
		if _, number, err = numbers(end); err != nil {
			return err
		}
	}
	if number < d.base {
		return r.goWithout(ctx, number, d)
	}
	if end == nil {
		r.report.Events = 0
		return nil
	}
	agreed, err := r.agree(ctx, d, end)
	if err != nil {
		return err
	}
	r.report.Events = agreed
	r.Say("the log leads to event %d, %s holds up to %d, and they agree up to %d", d.last(), broker.EventsStream(r.Partition), number, agreed)
	err = partition.VerifyEvents(ctx, r.Broker, r.Partition, end) // the same event may have followed from another message, which workers do not believe
	if err != nil && !errors.Is(err, partition.ErrNotOfThisLog) {
		return err
	}
	if agreed < number || err != nil {
		r.report.Marked, r.markAfter, r.markTo = number, end.Sequence, end.Sequence+1
	}
	return nil
}

// goWithout lets events go on after those that the base was made with, although EVENTS-p does not hold them all any more: somebody purged it, or it lost its end.
// Nothing derives them again.
func (r *run) goWithout(ctx context.Context, number uint64, d *derived) error {
	name := broker.EventsStream(r.Partition)
	what := fmt.Sprintf("%s lost events: it ends at event %d, and the base was made when it held %d", name, number, d.base)
	if !r.EventsLost {
		return fmt.Errorf("%s: restore it; or, if it cannot be, go on without events %d to %d, which those who have not read them will never get: -events-lost", what, number+1, d.base)
	}
	stream, err := r.Broker.JS.Stream(ctx, name) // which asks the leader
	if err != nil {
		return err
	}
	r.Say("%s; those who have not read events %d to %d will never get them", what, number+1, d.base)
	r.report.Events, r.report.Lost = d.base, d.base-number
	r.markAfter = stream.CachedInfo().State.LastSeq
	r.markTo = max(r.markAfter+1, d.baseSeq) // a worker looks for that, too
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
			return last, nil
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

// mark puts a message without events into EVENTS-p if that goes on beyond what the log leads to, or lacks what the base was made with. It says at which number events go
// on. It comes after fill: once it is there nobody sees any more which positions followed by events are lost.
func (r *run) mark(ctx context.Context) error {
	if r.markTo == 0 {
		return nil
	}
	if err := r.mine(ctx); err != nil {
		return err
	}
	text := strconv.FormatUint(r.report.Events, 10)
	for r.markAfter < r.markTo {
		msg := &nats.Msg{Subject: broker.EventsSubject(r.Partition), Data: []byte("[]"), Header: nats.Header{
			partition.HeaderFirstEvent:      []string{text},
			partition.HeaderLastEvent:       []string{text},
			"Content-Type":                  []string{"application/cloudevents-batch+json"},
			jetstream.ExpectedStreamHeader:  []string{broker.EventsStream(r.Partition)},
			jetstream.ExpectedLastSeqHeader: []string{strconv.FormatUint(r.markAfter, 10)},
		}}
		ack, err := r.Broker.JS.PublishMsg(ctx, msg)
		if err != nil {
			return fmt.Errorf("mark where events go on: %w", err)
		}
		r.markAfter = ack.Sequence
	}
	r.Say("message %d of %s says that events go on after %s", r.markAfter, broker.EventsStream(r.Partition), text)
	return nil
}
