package directory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Pauses between the attempts of a Declare: after losing a race, and after a failure whose effect is not known.
const (
	racePause = 20 * time.Millisecond // at most; random, so that the losers of one race do not all meet again
	failPause = 100 * time.Millisecond
)

// payloadSlack leaves room for the headers in the broker's max_payload.
const payloadSlack = 1024

// Declare replaces the bot's whole module set (compare-and-set); declaring what is already there writes nothing. When it has returned nil,
// every ingress knows the new modules.
//
// Errors: *TakenError, *LimitError, *InvalidError: nothing was changed and repeating does not help. Any other: the broker could not
// be reached or others kept winning within Config.DeclareTimeout; the set may have been declared, and repeating is safe.
func (d *Directory) Declare(ctx context.Context, account, bot string, modules []Module) error {
	modules, err := normalize(bot, modules, d.cfg.MaxModules)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.DeclareTimeout)
	defer cancel()
	for {
		err := d.declareOnce(ctx, account, bot, modules)
		if err == nil || final(err) {
			return err
		}
		if !pause(ctx, err) {
			return fmt.Errorf("declare modules: %w", err)
		}
	}
}

// declareOnce reads, changes and writes the account's set. A write whose acknowledgement was lost is found done by the next attempt.
func (d *Directory) declareOnce(ctx context.Context, account, bot string, modules []Module) error {
	if d.ctx.Err() != nil {
		return errClosed
	}
	cat, err := d.leader(ctx, account)
	if err != nil {
		return err
	}
	if cat.has(bot, modules) {
		return nil
	}
	next, err := cat.with(bot, modules, d.cfg.MaxBots)
	if err != nil {
		return err
	}
	return d.write(ctx, account, next)
}

// write stores cat if the key is still at cat's revision.
func (d *Directory) write(ctx context.Context, account string, cat *catalogue) error {
	data, err := cat.encode()
	if err != nil {
		return err
	}
	if limit := d.maxValue(); len(data) > limit {
		return &LimitError{Field: "account", Limit: limit}
	}
	ctx, cancel := context.WithTimeout(ctx, max(d.cfg.DeclareTimeout/3, d.cfg.ReadTimeout))
	defer cancel()
	revision, err := d.put(ctx, key(account), data, cat.revision)
	if err != nil {
		return fmt.Errorf("write to %s: %w", Bucket, err)
	}
	d.copy.feed(account, index(cat.bots, revision))
	return nil
}

func (d *Directory) put(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	bucket, err := d.broker.JS.KeyValue(ctx, Bucket)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return bucket.Create(ctx, key, data) // over the marker of a deletion too
	}
	return bucket.Update(ctx, key, data, revision)
}

func (d *Directory) maxValue() int {
	return min(d.cfg.MaxValueBytes, int(d.broker.Conn.MaxPayload())-payloadSlack)
}

// final reports whether repeating could not help.
func final(err error) bool {
	var taken *TakenError
	var limit *LimitError
	return errors.As(err, &taken) || errors.As(err, &limit) || errors.Is(err, errClosed) || errors.Is(err, errUnreadable)
}

// lostRace reports whether another Declare of the account came first.
func lostRace(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// pause waits before the next attempt; false if there is no time for one.
func pause(ctx context.Context, err error) bool {
	wait := failPause
	if lostRace(err) {
		wait = rand.N(racePause)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
