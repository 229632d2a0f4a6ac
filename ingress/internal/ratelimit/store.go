package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Entry is what an operator said of an account.
type Entry struct {
	Account     string
	Limit       Limit
	Who, Reason string
	At          time.Time
	Fault       error // nil: it can be read, and counts
}

// Set gives an account a limit of its own. It holds when it is stored; ingresses know it within a second or two.
func Set(ctx context.Context, b *broker.Broker, e Entry) error {
	if err := e.Limit.Validate(); err != nil {
		return err
	}
	data, err := json.Marshal(value{Version: valueVersion, Rate: e.Limit.Rate, Burst: e.Limit.Burst, Who: e.Who, Reason: e.Reason, At: e.At.UTC()})
	if err != nil {
		return fmt.Errorf("encode limit: %w", err)
	}
	return inBucket(ctx, b, func(bucket jetstream.KeyValue) error {
		_, err := bucket.Put(ctx, key(e.Account), data)
		return err
	})
}

// Remove takes an account's own limit away: it has the usual one again. had is false if it had none.
func Remove(ctx context.Context, b *broker.Broker, account string) (had bool, err error) {
	_, _, err = b.KVGet(ctx, broker.BucketLimits, key(account))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, inBucket(ctx, b, func(bucket jetstream.KeyValue) error { return bucket.Delete(ctx, key(account)) })
}

// List is all accounts with a limit of their own, by name.
func List(ctx context.Context, b *broker.Broker) (entries []Entry, err error) {
	listed, err := b.List(ctx, broker.BucketLimits)
	if err != nil {
		return nil, explained(err)
	}
	for _, e := range listed {
		entries = append(entries, read(e))
	}
	slices.SortFunc(entries, func(x, y Entry) int { return strings.Compare(x.Account, y.Account) })
	return entries, nil
}

func read(e jetstream.KeyValueEntry) Entry {
	account, err := accountOf(e.Key())
	if err != nil {
		return Entry{Account: e.Key(), Fault: fmt.Errorf("key is no account: %w", err)}
	}
	v, err := parse(e.Value())
	return Entry{Account: account, Limit: v.limit(), Who: v.Who, Reason: v.Reason, At: v.At, Fault: err}
}

func inBucket(ctx context.Context, b *broker.Broker, f func(jetstream.KeyValue) error) error {
	bucket, err := b.JS.KeyValue(ctx, broker.BucketLimits)
	if err == nil {
		err = f(bucket)
	}
	if err != nil {
		return explained(fmt.Errorf("use bucket %s: %w", broker.BucketLimits, err))
	}
	return nil
}

func explained(err error) error {
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("bucket %s is not there: start a worker (or an ingress that may make it) of this version, and try again: %w", broker.BucketLimits, err)
	}
	return err
}
