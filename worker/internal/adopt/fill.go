package adopt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
)

const (
	ticksAtOnce  = 256             // the most that are not acknowledged
	tickPatience = 5 * time.Second // for an acknowledgement: one that is lost with a leader never comes
	tickTries    = 10              // in a row, while a leader is elected
)

// fill appends ticks until the log ends beyond the highest position seen. One too many does no harm, so what is not acknowledged is appended again.
func (r *run) fill(ctx context.Context) error {
	target := r.report.Seen + r.Margin
	for failures := 0; r.report.Ended < target; {
		err := r.mine(ctx)
		if errors.Is(err, ErrInUse) {
			return err
		}
		var end uint64
		if err == nil {
			end, err = r.append(ctx, min(target-r.report.Ended, ticksAtOnce))
			r.report.Ended = max(r.report.Ended, end)
		}
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == tickTries || ctx.Err() != nil || full(err) {
			return fmt.Errorf("append ticks up to %d, at %d: %w", target, r.report.Ended, err)
		}
		r.Say("the log is at %d, trying again: %v", r.report.Ended, err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	r.Say("the log ends at %d, beyond what was seen by %d", r.report.Ended, r.report.Ended-r.report.Seen)
	return nil
}

// full says whether the log has no room, which waiting does not change.
func full(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code != 503
}

// append appends ticks and returns the last sequence that was acknowledged.
func (r *run) append(ctx context.Context, n uint64) (end uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, tickPatience)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, 0, n)
	for range n {
		ack, err := r.tick()
		if err != nil {
			return end, err
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case a := <-ack.Ok():
			end = max(end, a.Sequence)
		case err := <-ack.Err():
			return end, err
		case <-ctx.Done():
			return end, errors.Join(errors.New("no acknowledgement in time"), ctx.Err())
		}
	}
	return end, nil
}

func (r *run) tick() (jetstream.PubAckFuture, error) {
	tick := record.Record{Kind: record.Tick}
	batch := record.Batch{Writer: "adopt", Time: time.Now().UnixMilli(), Count: 1, Payload: tick.AppendTo(nil)}
	return r.Broker.JS.PublishMsgAsync(&nats.Msg{Subject: broker.TriggersSubject(r.Partition), Header: batch.Header(), Data: batch.Payload})
}
