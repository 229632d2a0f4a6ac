package partition

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// ticker appends a tick to the log when a redirect is due and nothing else moves stream time.
type ticker struct {
	done    chan ticked
	running bool      // an append is under way
	seq     uint64    // the last tick; until it is applied there is no other
	again   time.Time // not before this
	pause   backoff
	trouble telemetry.Trouble
	due     time.Time // of the next redirect; zero = none
	stale   bool      // due must be looked up again
}

// ticked is how an append ended.
type ticked struct {
	seq uint64
	err error
}

func newTicker(cfg Config) ticker {
	return ticker{done: make(chan ticked, 1), stale: true, pause: backoff{min: cfg.TickBackoff, max: cfg.TickBackoffLimit}}
}

// tick appends a tick if one is needed. It is not while messages are in hand or known to be in the log: they move stream time too.
func (a *actor) tick(now time.Time) error {
	t := &a.ticker
	if !a.mayTick() {
		return nil
	}
	if err := a.lookupDue(); err != nil {
		return a.halt("the partition's file cannot be read", "look at this machine's disk"+thenResume+", which replays from the last checkpoint", err)
	}
	if t.due.IsZero() || now.Before(t.due) || now.Before(t.again) {
		return nil
	}
	t.running, t.again = true, now.Add(t.pause.pause())
	at := now.UnixMilli()
	a.spawn(func(ctx context.Context) {
		seq, err := a.appendTick(ctx, at)
		t.done <- ticked{seq, err}
	})
	return nil
}

func (a *actor) mayTick() bool {
	f := a.view.read()
	return f.state == Serving && !a.ticker.running && len(a.in) == 0 && a.last.seq >= max(f.last, a.ticker.seq)
}

// lookupDue finds when the next redirect is due. If it is another one than before, ticks have done something: begin again without pauses.
func (a *actor) lookupDue() error {
	t := &a.ticker
	if !t.stale {
		return nil
	}
	d, _, _, ok, err := a.store.NextDue()
	if err != nil {
		return err
	}
	var due time.Time
	if ok {
		due = time.UnixMilli(d.At)
	}
	if !due.Equal(t.due) {
		t.again = time.Time{}
		t.pause.reset()
	}
	t.due, t.stale = due, false
	return nil
}

// appendTick appends one tick. It is not numbered: a second one is harmless.
func (a *actor) appendTick(ctx context.Context, at int64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.BrokerTimeout)
	defer cancel()
	tick := record.Record{Kind: record.Tick}
	batch := record.Batch{Writer: a.cfg.Writer, Time: at, Count: 1, Payload: tick.AppendTo(nil)}
	msg := &nats.Msg{Subject: broker.TriggersSubject(a.cfg.Partition), Header: batch.Header(), Data: batch.Payload}
	ack, err := a.deps.Broker.JS.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// ticked notes how an append ended; after an error the next one is due after the pause.
func (a *actor) ticked(t ticked) {
	a.ticker.running = false
	if t.err != nil {
		a.ticker.trouble.Again(a.log, slog.LevelWarn, "tick was not appended, so delayed redirects wait", "cause", t.err)
		return
	}
	a.ticker.trouble.Over(a.log, "ticks are appended again")
	a.ticker.seq = t.seq
	a.deps.Metrics.ticks.WithLabelValues(a.label()).Inc()
}

// tickDue is when the actor has to look after ticks without being called; zero = not by itself.
func (a *actor) tickDue() time.Time {
	t := &a.ticker
	switch {
	case t.stale || t.due.IsZero() || !a.mayTick():
		return time.Time{}
	case t.due.Before(t.again):
		return t.again
	}
	return t.due
}
