package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// List is who the bucket says lives, for somebody who is no member: of each home the one that was started last, by ID. One that was killed is
// in it until its key expires. Members of a later version that cannot be read are left out.
func List(ctx context.Context, b *broker.Broker) ([]Member, error) {
	listed, err := b.List(ctx, broker.BucketMembers)
	if err != nil {
		return nil, err
	}
	r := newRoster(0)
	for _, key := range listed {
		id := key.Key()
		value, revision, err := b.KVGet(ctx, broker.BucketMembers, id)
		if errors.Is(err, jetstream.ErrKeyNotFound) { // gone meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read member %s: %w", id, err)
		}
		if m, err := decode(id, value); err == nil {
			r.entries[id] = &entry{Member: m}
			r.revision = max(r.revision, revision)
		}
	}
	return r.members(Member{})[1:], nil
}
