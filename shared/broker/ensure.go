package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	requestTimeout    = 5 * time.Second        // one request, one answer
	retryInterval     = 100 * time.Millisecond // while the broker is away
	waitInterval      = 500 * time.Millisecond // while somebody else makes what this user may not
	ensureConcurrency = 8                      // partitions looked at together
)

// Ensure makes what is missing and checks what is there: the partition count (once, in BucketDeployment), the buckets,
// the streams with their log ids, the first record of each log. Idempotent, safe to run from several processes at once. It reads
// before it writes: a user who may not make anything is content with what is there, and waits for what is not.
//
// It refuses with ErrPartitions another partition count, and with ErrLogForeign a stream that is another than the known one. One that is gone for
// Settings.MissingFor is logged, and left to whoever uses that log: it is no reason to keep the other partitions waiting. What else differs from s is
// logged, put right where that loses nothing, and kept for Differences. While the broker is away, or elects, it tries until ctx ends.
func Ensure(ctx context.Context, conn *nats.Conn, s Settings, log *slog.Logger) (*Broker, error) {
	s = s.withDefaults()
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("check settings of the broker: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	b := &Broker{Conn: conn, JS: js, settings: s, logIDs: make([]string, s.Partitions), denials: listen(conn)}
	e := &ensurer{Broker: b, log: log}
	if err := e.patiently(ctx, "read partition count", e.sameCount); err != nil {
		return nil, err
	}
	if err := e.buckets(ctx); err != nil {
		return nil, err
	}
	if err := e.patiently(ctx, "record partition count", e.partitionCount); err != nil {
		return nil, err
	}
	if err := e.logs(ctx); err != nil {
		return nil, err
	}
	b.differing = e.differing.list()
	return b, nil
}

// ensurer is a Broker in the making.
type ensurer struct {
	*Broker
	log       *slog.Logger
	differing report
}

func (e *ensurer) buckets(ctx context.Context) error {
	for _, cfg := range e.settings.buckets() {
		err := e.patiently(ctx, "make stream "+cfg.Name, func(ctx context.Context) error { return e.bucket(ctx, cfg) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *ensurer) bucket(ctx context.Context, cfg jetstream.StreamConfig) error {
	info, err := e.makeStream(ctx, cfg)
	if err != nil || info == nil {
		return err
	}
	return e.align(ctx, info, cfg)
}

// makeStream makes a stream. If it is there already, made with whatever settings by whomever, it returns what it is.
func (e *ensurer) makeStream(ctx context.Context, cfg jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	info, err := e.info(ctx, cfg.Name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return info, err
	}
	err = waiting(e.ask(ctx, "$JS.API.STREAM.CREATE."+cfg.Name, cfg, nil))
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster, with other settings
		return e.info(ctx, cfg.Name)
	}
	return nil, err
}

// sameCount refuses another count where one is known already, before anything is made or changed.
func (e *ensurer) sameCount(ctx context.Context) error {
	have, err := e.entryOf(ctx, BucketDeployment, keyPartitions)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, ErrNotAllowed):
		return nil
	case err != nil || !have.live:
		return err
	}
	return e.samePartitions(string(have.value))
}

// partitionCount writes the count once and compares with it for ever.
func (e *ensurer) partitionCount(ctx context.Context) error {
	have, err := e.entryOf(ctx, BucketDeployment, keyPartitions)
	if err != nil {
		return err
	}
	if !have.live {
		return e.write(ctx, have, []byte(strconv.Itoa(e.settings.Partitions)))
	}
	return e.samePartitions(string(have.value))
}

func (e *ensurer) logs(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(ensureConcurrency)
	for p := range e.settings.Partitions {
		group.Go(func() error {
			err := e.patiently(ctx, "make log of partition "+strconv.Itoa(p), func(ctx context.Context) (err error) {
				e.logIDs[p], err = e.partition(ctx, p)
				return err
			})
			if errors.Is(err, ErrLogMissing) && ctx.Err() == nil {
				e.log.Error("known log is missing: its partition halts, and nothing is accepted for it; the others go on", "partition", p, "error", err)
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// write stores what BucketDeployment knows if nobody did so since have was read; otherwise the error is errOvertaken.
func (e *ensurer) write(ctx context.Context, have entry, value []byte) error {
	msg := nats.NewMsg(bucketSubject(have.bucket, have.key))
	msg.Data = value
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(have.revision, 10))
	err := waiting(e.request(ctx, msg, nil))
	if wrongSequence(err) {
		return errOvertaken
	}
	return err
}

// patiently repeats an idempotent step while the broker is away, until ctx ends.
func (e *ensurer) patiently(ctx context.Context, what string, step func(context.Context) error) error {
	var missing time.Time // since
	for warned := false; ; {
		err := within(ctx, step)
		if err == nil {
			return nil
		}
		pause := retryInterval
		switch {
		case errors.Is(err, errNotMade):
			pause = waitInterval
		case errors.Is(err, ErrLogMissing) && ctx.Err() == nil && (missing.IsZero() || time.Since(missing) < e.settings.MissingFor):
			if missing.IsZero() {
				missing = time.Now()
			}
		case !away(err) || ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, err)
		}
		if !warned && !errors.Is(err, errOvertaken) {
			e.warn(what, err)
			warned = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

// codeNoPeers: there are not as many servers as a stream is to have copies, with as much room as it reserves.
const codeNoPeers = 10005

func (e *ensurer) warn(what string, err error) {
	if errors.Is(err, errNotMade) {
		e.log.Warn("deployment is not complete, and this user may not complete it: waiting for one who may, such as a worker", "step", what, "error", err)
		return
	}
	if errors.Is(err, ErrLogMissing) {
		e.log.Warn("broker says that a known log is missing, asking again before that is believed", "step", what, "for", e.settings.MissingFor, "error", err)
		return
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeNoPeers {
		e.log.Warn("no servers have a place for this stream: too few are there, or what it reserves does not fit into max_file_store; trying again",
			"step", what, "error", err)
		return
	}
	e.log.Warn("broker is away or busy, trying again", "step", what, "error", err)
}

// within bounds a step, so that one lost answer does not take all the time there is.
func within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	return step(ctx)
}
