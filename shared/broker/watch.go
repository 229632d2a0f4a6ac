package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Watch is how a bucket is watched. Its functions are called by one goroutine, one at a time.
type Watch struct {
	Bucket      string
	RelistEvery time.Duration   // a watch may miss something without a word: once in a while it is begun anew
	Timeout     time.Duration   // for setting up a watch, and its list
	Relist      <-chan struct{} // says that it is time to list again; may be nil

	Begin  func()                                           // a watch begins; may be nil
	Take   func(entry jetstream.KeyValueEntry, listed bool) // an entry; listed: it is news, and not of the list
	Listed func(ctx context.Context)                        // the list is complete; ctx ends with the watch
	Failed func(err error)                                  // it is begun anew after a pause
}

// Pauses before a watch that failed is begun anew, doubling until one is listed.
const (
	minWatchPause = 20 * time.Millisecond
	maxWatchPause = time.Second
)

// How long a watch that was stopped is waited for. It ends at once, unless the connection was closed in the very moment in which it was set up:
// then nobody tells that it has ended.
const (
	stopPatience   = 5 * time.Second
	closedPatience = 100 * time.Millisecond
)

// KeepWatching watches until ctx ends. Each watch begins with a list of the bucket and lasts until it is time for another one, or until the connection was lost
// and found: listing again is nothing but a new watch.
func (b *Broker) KeepWatching(ctx context.Context, w Watch) {
	reconnected := b.Conn.StatusChanged(nats.CONNECTED)
	defer b.Conn.RemoveStatusListener(reconnected)
	for pause := minWatchPause; ctx.Err() == nil; {
		listed, err := b.watchOnce(ctx, &w, reconnected)
		if listed {
			pause = minWatchPause
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		w.Failed(err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, maxWatchPause)
	}
}

// watchOnce lists and watches until it is time to list again (nil). listed: the list was completed.
func (b *Broker) watchOnce(ctx context.Context, w *Watch, reconnected <-chan nats.Status) (listed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// With a deadline of ctx the watch would end then; without one a lost answer would be awaited for ever.
	setup := time.AfterFunc(w.Timeout, func() { cancel(fmt.Errorf("broker did not list it within %s", w.Timeout)) })
	defer setup.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && ctx.Err() != nil && cause != ctx.Err() { // it says more
			err = fmt.Errorf("watch bucket %s: %w", w.Bucket, cause)
		}
	}()
	bucket, err := b.JS.KeyValue(ctx, w.Bucket)
	if err != nil {
		return false, fmt.Errorf("open bucket %s: %w", w.Bucket, err)
	}
	watcher, err := bucket.WatchAll(ctx)
	if err != nil {
		return false, fmt.Errorf("watch bucket %s: %w", w.Bucket, err)
	}
	defer b.stop(watcher)
	if w.Begin != nil {
		w.Begin()
	}
	relist := time.NewTimer(w.RelistEvery)
	defer relist.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return listed, fmt.Errorf("watch bucket %s: %w", w.Bucket, errWatchClosed)
			case entry != nil:
				w.Take(entry, listed)
			default:
				listed = true
				setup.Stop()
				w.Listed(ctx)
			}
		case <-relist.C:
			return listed, nil
		case <-w.Relist:
			return listed, nil
		case <-reconnected:
			return listed, nil
		case <-ctx.Done():
			return listed, fmt.Errorf("list bucket %s: %w", w.Bucket, ctx.Err())
		}
	}
}

var errWatchClosed = errors.New("watch was closed")

// stop ends a watch. Its goroutine may be blocked on handing out an update, so those are read until it has ended.
func (b *Broker) stop(w jetstream.KeyWatcher) {
	_ = w.Stop() // fails only if the watch, or its connection, has ended already
	patience := stopPatience
	if b.Conn.IsClosed() {
		patience = closedPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for open := true; open; {
		select {
		case _, open = <-w.Updates():
		case <-timer.C:
			return
		}
	}
}
