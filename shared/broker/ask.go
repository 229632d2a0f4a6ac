package broker

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// info asks a stream's leader what it is. jetstream.ErrStreamNotFound if there is none of that name.
func (b *Broker) info(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	info := &jetstream.StreamInfo{}
	if err := b.ask(ctx, "$JS.API.STREAM.INFO."+name, nil, info); err != nil {
		return nil, err
	}
	return info, nil
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
