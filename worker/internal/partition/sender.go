package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// landing is how a flight ended: EVENTS-p holds the parcel, and perhaps more that another owner put there.
type landing struct {
	place
	err error // a halt, a crash, or the end of the sender's context
}

// sender puts parcels into EVENTS-p, one at a time, each event once. It has a goroutine for as long as a parcel is in flight.
type sender struct {
	p     *Partition
	place place // the end of EVENTS-p, as last seen
	done  chan landing
	doubt doubt // that EVENTS-p holds what was acknowledged

	trouble telemetry.Trouble
}

// fly sends the parcel until it is in EVENTS-p, however long that takes.
func (s *sender) fly(ctx context.Context, p *parcel) { s.done <- s.deliver(ctx, p) }

func (s *sender) deliver(ctx context.Context, p *parcel) landing {
	pause, begun := backoff{min: minPause, max: maxPause}, time.Now()
	for ctx.Err() == nil {
		if err := s.p.fail(StepEmitting); err != nil {
			return landing{err: err}
		}
		err := s.publish(ctx, p)
		if err == nil {
			s.p.exportParcel(p, s.place.seq, begun)
			s.trouble.Over(s.p.log, "events are acknowledged again", "last", p.last)
			return landing{place: s.place, err: s.p.fail(StepEmitted)}
		}
		refused := s.refused(err)
		// Neither a refusal nor a silence says whether the message is there: it may be the acknowledgement that was lost.
		if err := s.look(ctx, p); err != nil {
			return landing{err: err}
		}
		if s.place.number >= p.last {
			s.trouble.Over(s.p.log, "events are acknowledged again", "last", p.last)
			return landing{place: s.place, err: s.p.fail(StepEmitted)}
		}
		if s.place.number >= p.first {
			p.dropThrough(s.place.number)
		}
		if !refused {
			s.p.view.update(func(f *facts) { f.emitErr = fmt.Errorf("emit events: %w", err) })
			s.trouble.Again(s.p.log, slog.LevelWarn, "events were not acknowledged, trying again", "first", p.first, "last", p.last, "cause", err)
			pause.wait(ctx)
		}
	}
	return landing{err: ctx.Err()}
}

// refused notes a conflict: another owner has written meanwhile, or an earlier attempt of this one arrived after all.
func (s *sender) refused(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence && api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequenceConstant {
		return false
	}
	s.p.deps.Metrics.conflicts.WithLabelValues(s.p.label()).Inc()
	return true
}

// publish makes one attempt, which succeeds only at the end of EVENTS-p as last seen.
func (s *sender) publish(ctx context.Context, p *parcel) error {
	ctx, cancel := context.WithTimeout(ctx, s.p.cfg.BrokerTimeout)
	defer cancel()
	msg := &nats.Msg{Subject: broker.EventsSubject(s.p.cfg.Partition), Data: p.payload(), Header: nats.Header{
		HeaderFirstEvent:                []string{strconv.FormatUint(p.first, 10)},
		HeaderLastEvent:                 []string{strconv.FormatUint(p.last, 10)},
		HeaderFollowedFrom:              []string{p.from.String()},
		"Content-Type":                  []string{contentType},
		jetstream.ExpectedStreamHeader:  []string{broker.EventsStream(s.p.cfg.Partition)},
		jetstream.ExpectedLastSeqHeader: []string{strconv.FormatUint(s.place.seq, 10)},
	}}
	ack, err := s.p.deps.Broker.JS.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return err
	}
	s.place = place{seq: ack.Sequence, number: p.last}
	return nil
}

// look finds the end of EVENTS-p, waiting for the broker as long as it takes.
func (s *sender) look(ctx context.Context, p *parcel) error {
	pause := backoff{min: minPause, max: maxPause}
	for {
		found, err := readPlace(ctx, s.p.deps.Broker, s.p.cfg.Partition, s.place.seq)
		if err == nil {
			err = s.arrive(found, p)
		}
		switch {
		case err == nil:
			s.doubt.over()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		var f *foreign
		if errors.As(err, &f) {
			if halt := s.doubt.found(f); halt != nil {
				return halt
			}
			err = doubted(f)
		}
		s.p.view.update(func(v *facts) { v.emitErr = fmt.Errorf("read last events: %w", err) })
		pause.wait(ctx)
	}
}

// arrive takes over the end of EVENTS-p, which can only have moved on.
func (s *sender) arrive(found place, p *parcel) error {
	if found.seq < s.place.seq || found.number+1 < p.first {
		return eventsLost(s.p.cfg.Partition, found, place{seq: s.place.seq, number: p.first - 1})
	}
	s.place = found
	return nil
}
