// Package peers counts the live ingresses of a deployment: what an account may do in all of it is divided by them.
//
// # Usage
//
//	p, err := peers.New(peers.Config{}, peers.Deps{Broker: b})
//	share := limit / float64(p.Count())
//	err = p.Close(ctx)
//
// # Ordering
//
// Each ingress keeps a key in the bucket INGRESSES, puts it anew every third of the bucket's TTL, and deletes it when it is closed. Everybody watches the
// bucket: who comes and who goes is known at once. Who is killed is missed when the broker has let its key expire and two lists in a row lack it, which
// takes one and a half TTLs. No clocks are compared, since the broker's alone decides who has expired.
//
// # Failure
//
// While the broker is away the last number stays. When it is back, perhaps without keys that nobody could renew, a list may come before the others have put theirs
// anew: that is what the second one is for. Until the first list there is one ingress, this one. A wrong number makes a limit too narrow or too wide for some
// seconds, and nothing else.
//
// # Concurrency
//
// All methods are safe for concurrent use. There are two goroutines, which Close waits for.
package peers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// DefaultTimeout is of one request to the broker.
const DefaultTimeout = 2 * time.Second

// Config of Peers. Zero fields take the defaults.
type Config struct {
	ID      string        // unique for each start; made up if it is empty
	Timeout time.Duration // of one request
}

// Deps is what it works with. Broker is mandatory and stays the caller's.
type Deps struct {
	Broker     *broker.Broker
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are kept and shown to nobody
}

// Peers is one ingress's part in the count. Safe for concurrent use.
type Peers struct {
	cfg     Config
	broker  *broker.Broker
	log     *slog.Logger
	metrics *metrics
	value   []byte
	count   atomic.Int64
	stored  atomic.Bool // the last renewal was acknowledged

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// version is of a key's value, which is for people. What counts is that there is a key.
const version = 1

// New begins to renew and to watch, and returns at once. Whoever has it closes it. The error is of registering the metrics.
func New(cfg Config, deps Deps) (*Peers, error) {
	cfg.ID = cmp.Or(cfg.ID, nuid.Next())
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	p := &Peers{cfg: cfg, broker: deps.Broker, log: deps.Log}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.count.Store(1)
	p.metrics = newMetrics(func() float64 { return float64(p.Count()) })
	if err := p.metrics.register(deps.Registerer); err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	host, _ := os.Hostname() // for people; may be empty
	p.value, _ = json.Marshal(map[string]any{"version": version, "host": host, "started_at": time.Now().UTC()})
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(func() { p.run(ctx) })
	return p, nil
}

// Count is how many ingresses live, as far as is known: at least one, this one.
func (p *Peers) Count() int { return int(p.count.Load()) }

// Close ends the renewals and deletes the key, unless the last renewal failed: then it expires.
func (p *Peers) Close(ctx context.Context) error {
	p.cancel()
	p.wg.Wait()
	if !p.stored.Swap(false) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	bucket, err := p.broker.JS.KeyValue(ctx, broker.BucketIngresses)
	if err == nil {
		err = bucket.Delete(ctx, p.cfg.ID)
	}
	if err != nil {
		return fmt.Errorf("delete key of this ingress, which expires: %w", err)
	}
	return nil
}

// Parts of a TTL.
const (
	renewals = 3 // two may be lost
	lists    = 4 // two of them take half of one
)

// openPause is between attempts to open the bucket.
const openPause = 250 * time.Millisecond

// run opens the bucket, whose TTL is the one that counts, whatever this process was told, and then renews and watches until ctx ends.
func (p *Peers) run(ctx context.Context) {
	var trouble telemetry.Trouble
	for ctx.Err() == nil {
		bucket, ttl, err := p.open(ctx)
		if err == nil {
			p.wg.Go(func() { p.keepWatching(ctx, ttl) })
			p.keepRenewing(ctx, bucket, ttl)
			return
		}
		if ctx.Err() == nil {
			p.failed(&trouble, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(openPause):
		}
	}
}

func (p *Peers) open(ctx context.Context) (jetstream.KeyValue, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	bucket, err := p.broker.JS.KeyValue(ctx, broker.BucketIngresses)
	if err != nil {
		return nil, 0, fmt.Errorf("open bucket %s: %w", broker.BucketIngresses, err)
	}
	status, err := bucket.Status(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("ask bucket %s for its ttl: %w", broker.BucketIngresses, err)
	}
	if status.TTL() < broker.MinMemberTTL {
		return nil, 0, fmt.Errorf("bucket %s: its ttl is %v, under %v", broker.BucketIngresses, status.TTL(), broker.MinMemberTTL)
	}
	return bucket, status.TTL(), nil
}

// keepRenewing puts the own key, and at once after a reconnect.
func (p *Peers) keepRenewing(ctx context.Context, bucket jetstream.KeyValue, ttl time.Duration) {
	reconnected := p.broker.Conn.StatusChanged(nats.CONNECTED)
	defer p.broker.Conn.RemoveStatusListener(reconnected)
	ticker := time.NewTicker(ttl / renewals)
	defer ticker.Stop()
	var trouble telemetry.Trouble
	for ctx.Err() == nil {
		put, cancel := context.WithTimeout(ctx, min(p.cfg.Timeout, ttl/renewals))
		_, err := bucket.Put(put, p.cfg.ID, p.value)
		cancel()
		switch {
		case err == nil:
			p.stored.Store(true)
			trouble.Over(p.log, "ingress is counted by the others again")
		case ctx.Err() == nil:
			p.failed(&trouble, err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-reconnected:
		}
	}
}

func (p *Peers) failed(trouble *telemetry.Trouble, err error) {
	p.stored.Store(false)
	p.metrics.failures.Inc()
	trouble.Again(p.log, slog.LevelWarn, "ingress cannot say that it lives: others soon do not count it, and let accounts do more than their limits", "error", err)
}

// keepWatching feeds the roll, which is its alone.
func (p *Peers) keepWatching(ctx context.Context, ttl time.Duration) {
	r := newRoll(p.cfg.ID)
	var trouble telemetry.Trouble
	p.broker.KeepWatching(ctx, broker.Watch{Bucket: broker.BucketIngresses, RelistEvery: ttl / lists, Timeout: p.cfg.Timeout,
		Begin: r.begin,
		Take: func(e jetstream.KeyValueEntry, _ bool) {
			r.take(e.Key(), e.Operation() == jetstream.KeyValuePut)
			p.note(r.count())
		},
		Listed: func(context.Context) {
			trouble.Over(p.log, "watch of ingresses goes on")
			r.listed()
			p.note(r.count())
		},
		Failed: func(err error) {
			trouble.Again(p.log, slog.LevelWarn, "watch of ingresses ended, beginning again", "error", err)
		}})
}

func (p *Peers) note(n int) {
	if before := p.count.Swap(int64(n)); before != int64(n) {
		p.log.Info("live ingresses changed", "ingresses", n, "before", before)
	}
}
