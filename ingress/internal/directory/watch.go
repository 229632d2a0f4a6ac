package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Pause before a failed watch is begun again, doubling.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// stopPatience is how long a watch that was stopped is waited for. It ends at once, unless the connection was closed in the very moment in
// which the watch was set up.
const stopPatience = 5 * time.Second

// keepWatching watches until Close. Each watch begins with a list of the whole bucket and lasts Config.RelistEvery, or until the
// connection was lost and found: listing again is nothing but a new watch.
func (d *Directory) keepWatching() {
	defer d.wg.Done()
	reconnected := d.broker.Conn.StatusChanged(nats.CONNECTED)
	defer d.broker.Conn.RemoveStatusListener(reconnected)
	backoff := minBackoff
	for d.watch.Err() == nil {
		listed, err := d.watchOnce(reconnected)
		if listed {
			backoff = minBackoff
		}
		if err == nil || d.watch.Err() != nil {
			continue
		}
		d.metrics.failures.Inc()
		d.log.Warn("watch of modules ended, beginning again", "error", err, "in", backoff)
		d.rest(backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

func (d *Directory) rest(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.watch.Done():
	}
}

// watchOnce lists and watches until it is time to list again (nil). listed: the list was completed.
func (d *Directory) watchOnce(reconnected <-chan nats.Status) (listed bool, err error) {
	ctx, cancel := context.WithCancel(d.watch)
	defer cancel()
	// Nothing else bounds the requests of a watch that is being set up: without a deadline of ctx a lost answer would be awaited for
	// ever, and with one the watch would end then.
	setup := time.AfterFunc(d.cfg.ListTimeout, cancel)
	defer setup.Stop()
	bucket, err := d.broker.JS.KeyValue(ctx, Bucket)
	if err != nil {
		return false, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	w, err := bucket.WatchAll(ctx)
	if err != nil {
		return false, fmt.Errorf("watch bucket %s: %w", Bucket, err)
	}
	defer drain(w)
	return d.follow(ctx, w.Updates(), reconnected, setup.Stop)
}

// follow takes updates until it is time to list again. onList is called when the bucket is listed.
func (d *Directory) follow(ctx context.Context, updates <-chan jetstream.KeyValueEntry, reconnected <-chan nats.Status, onList func() bool) (listed bool, err error) {
	relist := time.NewTimer(d.cfg.RelistEvery)
	defer relist.Stop()
	for {
		select {
		case entry, ok := <-updates:
			if !ok {
				return listed, errors.New("watch was closed")
			}
			if entry != nil {
				d.take(entry)
				continue
			}
			listed = true
			onList()
			d.markListed()
		case <-relist.C:
			return listed, nil
		case <-reconnected:
			return listed, nil
		case <-ctx.Done():
			return listed, fmt.Errorf("list bucket %s: %w", Bucket, ctx.Err())
		}
	}
}

// drain stops the watch. Its goroutine may be blocked on handing out an update, so those are read until it has ended.
func drain(w jetstream.KeyWatcher) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range w.Updates() {
		}
	}()
	_ = w.Stop() // fails only if the watch, or its connection, has ended already
	select {
	case <-done:
	case <-time.After(stopPatience):
	}
}

func (d *Directory) markListed() {
	d.copy.complete()
	d.metrics.lists.Inc()
	select {
	case <-d.listed:
	default:
		close(d.listed) // only this goroutine closes it
	}
}

// take feeds the copy. What cannot be read is left as it was: a read from the leader will say the same, aloud.
func (d *Directory) take(entry jetstream.KeyValueEntry) {
	account, err := accountOf(entry.Key())
	if err != nil {
		d.log.Warn("key in bucket is no account", "bucket", Bucket, "key", entry.Key())
		return
	}
	var data []byte
	if entry.Operation() == jetstream.KeyValuePut {
		data = entry.Value()
	}
	cat, err := parse(data, entry.Revision())
	if err != nil {
		d.log.Error("modules of account cannot be read", "account", account, "error", err)
		return
	}
	d.copy.feed(account, cat)
}
