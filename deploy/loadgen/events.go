package loadgen

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
)

// How events are waited for: they are emitted after what they tell can be read.
const (
	eventsDial     = 30 * time.Second
	eventsPatience = 30 * time.Second
	eventsPause    = 200 * time.Millisecond
)

// cloudEvent is what matters here of an event.
type cloudEvent struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Subject string `json:"subject"`
	Data    struct {
		Version uint64 `json:"version"`
	} `json:"data"`
}

const typeRejected = "triggerd.trigger.rejected"

// eventLog is what was read of all EVENTS-p about the users of one run.
type eventLog struct {
	run    string
	of     map[int][]userEvent // by user, in order
	oldest map[int]record.ID   // by partition: the first event that is kept
	next   map[int]uint64      // by partition: sequence to go on with
}

type userEvent struct {
	id       record.ID
	version  uint64
	rejected bool
}

// readEvents holds the events against the ledger: each accepted trigger has its event, once, and the versions that they tell of follow each other.
func (v *Verdict) readEvents(ctx context.Context, cfg *VerifyConfig, a *auditor, log accepted) error {
	dialing, cancel := context.WithTimeout(ctx, eventsDial)
	defer cancel()
	conn, err := cfg.NATS.Dial(dialing, "loadgen", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer conn.Close()
	b, err := broker.Open(ctx, conn)
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	l := &eventLog{run: a.Run, of: map[int][]userEvent{}, oldest: map[int]record.ID{}, next: map[int]uint64{}}
	for until := time.Now().Add(eventsPatience); ; {
		for p := range b.Partitions() {
			if err := l.read(ctx, js, p); err != nil {
				return fmt.Errorf("%s: %w", broker.EventsStream(p), err)
			}
		}
		if l.complete(log) || time.Now().After(until) {
			break
		}
		if !pause(ctx, eventsPause) {
			return ctx.Err()
		}
	}
	for user := range a.users {
		v.checkEvents(a, user, log[user], l)
	}
	return nil
}

// read goes on with one stream, to its end.
func (l *eventLog) read(ctx context.Context, js jetstream.JetStream, p int) error {
	stream, err := js.Stream(ctx, broker.EventsStream(p))
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	first := max(l.next[p], state.FirstSeq)
	if state.Msgs == 0 || first > state.LastSeq {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for l.next[p] <= state.LastSeq {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err == nil {
			err = l.message(p, msg.Data())
		}
		if err != nil {
			return err
		}
		l.next[p] = meta.Sequence.Stream + 1
	}
	return nil
}

func (l *eventLog) message(p int, data []byte) error {
	var list []cloudEvent
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, e := range list {
		id, err := record.ParseID(strings.TrimSuffix(e.ID, "-r"))
		if err != nil {
			return err
		}
		if _, ok := l.oldest[p]; !ok {
			l.oldest[p] = id
		}
		user, found := strings.CutPrefix(e.Subject, l.run+"-")
		if n, err := strconv.Atoi(user); found && err == nil {
			l.of[n] = append(l.of[n], userEvent{id, e.Data.Version, e.Type == typeRejected})
		}
	}
	return nil
}

// complete says whether there are as many events as accepted triggers: then nothing needs to be waited for.
func (l *eventLog) complete(log accepted) bool {
	for user, list := range log {
		if len(l.of[user]) < len(list) {
			return false
		}
	}
	return true
}

// checkEvents holds one user's events against what was promised.
func (v *Verdict) checkEvents(a *auditor, user int, log []entry, l *eventLog) {
	seen, before := map[record.ID]bool{}, uint64(0)
	for _, e := range l.of[user] {
		switch {
		case seen[e.id]:
			a.fail(user, broken(Once, "%s has two events", e.id))
		case e.rejected:
		case before > 0 && e.version != before+1:
			a.fail(user, broken(promiseOf(e.version, before+1), "the event of %s makes version %d, after %d", e.id, e.version, before))
		}
		seen[e.id] = true
		if !e.rejected {
			before = e.version
		}
	}
	for _, e := range log {
		switch oldest, ok := l.oldest[e.id.Partition]; {
		case seen[e.id]:
			v.Events++
		case ok && e.id.Position.Compare(oldest.Position) < 0 || a.users[user].doubtful(e):
		default:
			a.fail(user, broken(Durable, "%s was accepted, and has no event", e.id))
		}
	}
}

// doubtful: what was applied may be an attempt without an answer.
func (p *promises) doubtful(e entry) bool {
	for _, s := range p.recent {
		if s.id == e.id {
			return !s.sure
		}
	}
	return false
}
