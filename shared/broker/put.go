package broker

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// KVPut stores a key, whatever it was, and returns when the leader of the bucket has it: nil. ttl over 0: the broker removes the key by itself
// after that, in whole seconds, at least one; only BucketRevoked has such keys. ErrNotAllowed if this connection's user may not; other errors are the broker's.
func (b *Broker) KVPut(ctx context.Context, bucket, key string, value []byte, ttl time.Duration) error {
	msg := nats.NewMsg(bucketSubject(bucket, key))
	msg.Data = value
	return b.put(ctx, bucket, msg, ttl)
}

// KVPurge deletes a key as KVPut stores one. Whoever watches sees a mark, which goes after ttl.
func (b *Broker) KVPurge(ctx context.Context, bucket, key string, ttl time.Duration) error {
	msg := nats.NewMsg(bucketSubject(bucket, key))
	msg.Header.Set("KV-Operation", "PURGE")
	msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	return b.put(ctx, bucket, msg, ttl)
}

func (b *Broker) put(ctx context.Context, bucket string, msg *nats.Msg, ttl time.Duration) error {
	if ttl > 0 {
		msg.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(max(ttl, time.Second)/time.Second), 10))
	}
	if err := b.request(ctx, msg, nil); err != nil {
		return fmt.Errorf("write to bucket %s: %w", bucket, err)
	}
	return nil
}
