package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errNoLeader: only servers that do not lead a stream have said what it is. What they say may be old.
var errNoLeader = errors.New("stream has no leader")

// info asks a stream's leader what it is. jetstream.ErrStreamNotFound if there is none of that name.
func (b *Broker) info(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	return b.infoOf(ctx, name, "")
}

// infoOf is info with the number of messages of one subject in State.Subjects, which lacks it if there is none; empty: of no subject.
//
// While a stream has no leader its other servers answer, with what they hold, which may lack what was acknowledged. So this asks on until the
// leader answers, for as long as one request may take.
func (b *Broker) infoOf(ctx context.Context, name, subject string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoLeader)
	defer cancel()
	var query any
	if subject != "" {
		query = map[string]string{"subjects_filter": subject}
	}
	for unled := false; ; unled = true {
		info := &jetstream.StreamInfo{}
		err := b.ask(ctx, "$JS.API.STREAM.INFO."+name, query, info)
		switch {
		case err != nil && unled && ctx.Err() != nil:
			return nil, fmt.Errorf("ask for stream %s: %w: %w", name, errNoLeader, err)
		case err != nil:
			return nil, err
		case fromLeader(info):
			return info, nil
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
			return nil, fmt.Errorf("ask for stream %s: %w: %w", name, errNoLeader, ctx.Err())
		}
	}
}

// fromLeader says whether the stream's leader said it. Whoever answers leaves itself out of the other replicas, unless it knows no leader; so the leader
// is among them if another one answers. A server on its own, and the only one that holds a stream, name themselves.
func fromLeader(info *jetstream.StreamInfo) bool {
	c := info.Cluster
	if c == nil {
		return true
	}
	return c.Leader != "" && !slices.ContainsFunc(c.Replicas, func(r *jetstream.PeerInfo) bool { return r.Name == c.Leader })
}

// ask sends one request of JetStream's API and decodes the answer into reply, if that is not nil.
func (b *Broker) ask(ctx context.Context, subject string, query, reply any) error {
	msg := &nats.Msg{Subject: subject}
	if query != nil {
		var err error
		if msg.Data, err = json.Marshal(query); err != nil {
			return err
		}
	}
	return b.request(ctx, msg, reply)
}

// request sends a message that JetStream answers, as it does requests of its API and messages to a stream.
func (b *Broker) request(ctx context.Context, msg *nats.Msg, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ctx, done := b.denials.watch(ctx, msg.Subject)
	defer done()
	answer, err := b.Conn.RequestMsgWithContext(ctx, msg)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	var fault struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &fault); err != nil {
		return err
	}
	if fault.Error != nil {
		return fault.Error
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(answer.Data, reply)
}
