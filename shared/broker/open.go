package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoDeployment: there is no deployment at this broker, or not a whole one yet.
var ErrNoDeployment = errors.New("no deployment here")

// Open is access to a deployment that is there, for whoever looks or decides, and must not make anything: it reads the partition count and the
// log ids from the leader of BucketDeployment, and creates and changes nothing. Of Settings it knows Partitions alone.
//
// It fails with ErrNoDeployment where Ensure was never finished; other errors are the broker's. It does not look at the streams: see CheckLog.
func Open(ctx context.Context, conn *nats.Conn) (*Broker, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	b := &Broker{Conn: conn, JS: js, denials: listen(conn)}
	if b.settings.Partitions, err = b.readPartitions(ctx); err != nil {
		return nil, err
	}
	b.logIDs = make([]string, b.settings.Partitions)
	for p := range b.logIDs {
		if b.logIDs[p], err = b.readLogID(ctx, p); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *Broker) readPartitions(ctx context.Context) (int, error) {
	value, _, err := b.KVGet(ctx, BucketDeployment, keyPartitions)
	if err != nil {
		return 0, fmt.Errorf("read partition count: %w", none(err))
	}
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 1 || n > MaxPartitions {
		return 0, fmt.Errorf("read partition count: key %s of bucket %s holds %.40q, not 1 to %d", keyPartitions, BucketDeployment, value, MaxPartitions)
	}
	return n, nil
}

func (b *Broker) readLogID(ctx context.Context, p int) (string, error) {
	value, _, err := b.KVGet(ctx, BucketDeployment, logKey(p))
	if err != nil {
		return "", fmt.Errorf("read log id of partition %d: %w", p, none(err))
	}
	var entry logEntry
	if err := json.Unmarshal(value, &entry); err != nil {
		return "", fmt.Errorf("read log id of partition %d: %w", p, err)
	}
	if entry.State != logCreated {
		return "", fmt.Errorf("read log id of partition %d: %w: its log is %q: start an ingress or a worker, and try again", p, ErrNoDeployment, entry.State)
	}
	return entry.ID, nil
}

// none says what it means that the bucket or the key is not there.
func none(err error) error {
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: is this the right broker, and did an ingress or a worker ever run on it?", ErrNoDeployment)
	}
	return err
}
