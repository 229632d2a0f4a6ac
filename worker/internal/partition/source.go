package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// delivery is a message of the log on its way to the actor, or the error with which reading ended for ever.
type delivery struct {
	msg  machine.Message
	mark mark
	err  error
}

// source reads a partition's log in order and without gaps, over any number of reconnects.
//
// It does by hand what the library's ordered consumer does (an ephemeral consumer without acknowledgements, made again after
// the last message whenever anything is wrong), because that one makes itself again unseen, and here every new
// consumer and every new connection must first prove that it still reads the same log.
type source struct {
	p    *Partition
	log  *slog.Logger
	last mark // the last message handed over
	out  chan<- delivery

	gaps    doubt // deliveries that did not follow last
	foreign doubt // faults of identity
	trouble telemetry.Trouble
}

// Pauses between attempts.
const (
	minPause = 50 * time.Millisecond
	maxPause = 500 * time.Millisecond // also the most that passes unnoticed after the broker has come back
)

var (
	errReconnected = errors.New("connection was made again")
	errGap         = errors.New("message out of order")
)

// run reads until ctx ends, or hands over an error and ends.
func (s *source) run(ctx context.Context) {
	pause := backoff{min: minPause, max: maxPause}
	for ctx.Err() == nil {
		before := s.last.seq
		err := s.session(ctx)
		if halt := s.judge(err); halt != nil {
			s.hand(ctx, delivery{err: halt})
			return
		}
		if s.last.seq != before {
			pause.reset()
		}
		s.report(ctx, err)
		pause.wait(ctx)
	}
}

// judge returns the halt to which an error of a session amounts, or nil if another session may help.
func (s *source) judge(err error) error {
	var f *foreign
	if errors.As(err, &f) {
		return s.foreign.found(f)
	}
	if errors.Is(err, errGap) {
		return s.gaps.found(&foreign{what: "the log does not go on after the last message applied", do: restoreLog, cause: err})
	}
	return nil
}

// report shows what is wrong; a reconnect is no fault.
func (s *source) report(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, errReconnected) {
		return
	}
	var f *foreign
	if errors.As(err, &f) {
		err = doubted(f)
	}
	s.p.view.update(func(f *facts) { f.sourceErr = fmt.Errorf("read log: %w", err) })
	if f == nil {
		s.trouble.Again(s.log, slog.LevelWarn, "reading the log was interrupted", "after", s.last.seq, "cause", err)
	}
}

// session is the life of one consumer on one connection.
func (s *source) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn := s.p.deps.Broker.Conn
	stop := onReconnect(conn, func() { cancel(errReconnected) })
	defer stop()
	connection := conn.Stats().Reconnects
	if err := verify(ctx, s.p.deps.Broker, s.p.cfg.Partition, s.last); err != nil {
		return s.cause(ctx, err)
	}
	s.foreign.over()
	consumer, err := s.consumer(ctx)
	if err != nil {
		return s.cause(ctx, err)
	}
	defer s.forget(consumer)
	it, err := consumer.Messages(s.p.deps.Broker.Prefetch(), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return err
	}
	defer it.Stop()
	s.p.view.update(func(f *facts) { f.sourceErr = nil })
	s.trouble.Over(s.log, "the log is read again", "after", s.last.seq)
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return s.cause(ctx, err)
		}
		if conn.Stats().Reconnects != connection { // the signal may come later than the message
			return errReconnected
		}
		if err := s.take(ctx, msg); err != nil {
			return s.cause(ctx, err)
		}
	}
}

// cause prefers the reason for which the session was ended over the error in which that showed.
func (s *source) cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// consumer makes an ephemeral consumer that begins after the last message.
func (s *source) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.p.cfg.BrokerTimeout)
	defer cancel()
	return s.p.deps.Broker.JS.CreateConsumer(ctx, broker.TriggersStream(s.p.cfg.Partition), jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       s.last.seq + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: 5 * time.Minute,
		Replicas:          1,
		MemoryStorage:     true,
		Description:       "triggerd worker " + s.p.cfg.Writer,
	})
}

// forget deletes a consumer that is no longer needed; if that fails, the server does after a while.
func (s *source) forget(c jetstream.Consumer) {
	if s.p.deps.Broker.Conn.Status() != nats.CONNECTED {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.p.cfg.BrokerTimeout)
	defer cancel()
	name := c.CachedInfo().Name
	if err := s.p.deps.Broker.JS.DeleteConsumer(ctx, broker.TriggersStream(s.p.cfg.Partition), name); err != nil {
		s.log.Debug("consumer was not deleted", "consumer", name, "cause", err)
	}
}

// take hands a message over if it follows the last one.
func (s *source) take(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	seq := meta.Sequence.Stream
	if seq != s.last.seq+1 {
		return fmt.Errorf("%w: %d after %d", errGap, seq, s.last.seq)
	}
	millis := meta.Timestamp.UnixMilli()
	d := delivery{mark: markOf(seq, meta.Timestamp, msg.Data()),
		msg: machine.Message{Seq: seq, Time: millis, Header: msg.Headers(), Payload: msg.Data()}}
	s.p.view.seen(seq, millis)
	if !s.hand(ctx, d) {
		return ctx.Err()
	}
	s.last = d.mark
	s.gaps.over()
	return nil
}

func (s *source) hand(ctx context.Context, d delivery) bool {
	select {
	case s.out <- d:
		return true
	case <-ctx.Done():
		return false
	}
}

// onReconnect calls f, at most once and from another goroutine, when the connection is made again. stop waits for that goroutine.
func onReconnect(conn *nats.Conn, f func()) (stop func()) {
	status := conn.StatusChanged(nats.CONNECTED)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, ok := <-status; ok {
			f()
		}
	}()
	return func() {
		conn.RemoveStatusListener(status) // closes status
		<-done
	}
}
