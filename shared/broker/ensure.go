package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	requestTimeout    = 5 * time.Second        // one request, one answer
	retryInterval     = 100 * time.Millisecond // while the broker is away
	ensureConcurrency = 8                      // partitions looked at together
)

// Ensure makes what is missing and checks what is there: the partition count (Create in BucketDeployment), the buckets,
// the streams with their log ids, the first record of each log. Idempotent, safe to run from several processes at once.
//
// It refuses with ErrPartitions another partition count, with ErrLogMissing a known stream that is gone, and with
// ErrLogForeign one that is another; what else differs from s is logged, and put right where that loses nothing. While the
// broker is away it tries until ctx ends.
func Ensure(ctx context.Context, conn *nats.Conn, s Settings, log *slog.Logger) (*Broker, error) {
	s = s.withDefaults()
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("check settings of the broker: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	b := &Broker{Conn: conn, JS: js, settings: s, logIDs: make([]string, s.Partitions)}
	e := &ensurer{Broker: b, log: log}
	if err := e.buckets(ctx); err != nil {
		return nil, err
	}
	if err := e.patiently(ctx, "record partition count", e.partitionCount); err != nil {
		return nil, err
	}
	return b, e.logs(ctx)
}

// ensurer is a Broker in the making.
type ensurer struct {
	*Broker
	log        *slog.Logger
	deployment jetstream.KeyValue
}

func (e *ensurer) buckets(ctx context.Context) error {
	for _, cfg := range []jetstream.KeyValueConfig{
		e.settings.bucketConfig(BucketDeployment, DeploymentMaxBytes),
		e.settings.bucketConfig(BucketModules, ModulesMaxBytes),
		e.settings.membersConfig(),
		e.settings.bucketConfig(BucketSnapshots, SnapshotsMaxBytes),
		e.settings.bucketConfig(BucketControl, ControlMaxBytes),
	} {
		err := e.patiently(ctx, "make bucket "+cfg.Bucket, func(ctx context.Context) error { return e.bucket(ctx, cfg) })
		if err != nil {
			return err
		}
	}
	return e.patiently(ctx, "make object store "+StoreSnapshots, e.objects)
}

// objects makes the object store of the snapshots.
func (e *ensurer) objects(ctx context.Context) error {
	cfg := e.settings.snapshotsConfig()
	_, err := e.JS.CreateObjectStore(ctx, cfg)
	if errors.Is(err, jetstream.ErrBucketExists) { // made with other settings
		_, err = e.JS.ObjectStore(ctx, cfg.Bucket)
		if err == nil {
			e.log.Warn("object store was made with other settings", "store", cfg.Bucket, "max_bytes", cfg.MaxBytes, "replicas", cfg.Replicas)
		}
	}
	return err
}

func (e *ensurer) bucket(ctx context.Context, cfg jetstream.KeyValueConfig) error {
	kv, err := e.JS.CreateKeyValue(ctx, cfg)
	if errors.Is(err, jetstream.ErrBucketExists) { // made with other settings
		kv, err = e.JS.KeyValue(ctx, cfg.Bucket)
		if err == nil {
			e.log.Warn("bucket was made with other settings", "bucket", cfg.Bucket, "max_bytes", cfg.MaxBytes, "replicas", cfg.Replicas, "ttl", cfg.TTL)
		}
	}
	if cfg.Bucket == BucketDeployment {
		e.deployment = kv
	}
	return err
}

// partitionCount writes the count once and compares with it for ever.
func (e *ensurer) partitionCount(ctx context.Context) error {
	_, err := e.deployment.Create(ctx, keyPartitions, []byte(strconv.Itoa(e.settings.Partitions)))
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return err
	}
	have, _, err := e.KVGet(ctx, BucketDeployment, keyPartitions)
	if err != nil {
		return err
	}
	return e.samePartitions(string(have))
}

func (e *ensurer) logs(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(ensureConcurrency)
	for p := range e.settings.Partitions {
		group.Go(func() error {
			return e.patiently(ctx, "make log of partition "+strconv.Itoa(p), func(ctx context.Context) (err error) {
				e.logIDs[p], err = e.partition(ctx, p)
				return err
			})
		})
	}
	return group.Wait()
}

// patiently repeats an idempotent step while the broker is away, until ctx ends.
func (e *ensurer) patiently(ctx context.Context, what string, step func(context.Context) error) error {
	for warned := false; ; warned = true {
		err := within(ctx, step)
		if err == nil {
			return nil
		}
		if !away(err) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !warned {
			e.log.Warn("broker is away, trying again", "step", what, "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(retryInterval):
		}
	}
}

// within bounds a step, so that one lost answer does not take all the time there is.
func within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	return step(ctx)
}

// awayCodes are answers of a broker that is starting or electing. "Not enabled" is what the client makes of nobody
// answering at all.
var awayCodes = []jetstream.ErrorCode{
	10008, // cluster unavailable
	10009, // no leader
	10118, // stream offline
	jetstream.JSErrCodeJetStreamNotEnabled,
}

// awayErrors are the client's own.
var awayErrors = []error{
	nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
	jetstream.ErrNoStreamResponse, context.DeadlineExceeded,
}

// away says whether an error is one of a broker that may yet come (back).
func away(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return slices.Contains(awayCodes, api.ErrorCode)
	}
	return slices.ContainsFunc(awayErrors, func(e error) bool { return errors.Is(err, e) })
}
