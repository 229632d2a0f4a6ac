package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
)

// Pauses between attempts to watch, doubling.
const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// stopPatience is how long a watch that was stopped is waited for. It ends at once, unless the connection was closed in the very moment
// in which it was set up.
const stopPatience = 5 * time.Second

// Run watches until ctx ends. Each watch begins with a list of the bucket, so listing again is nothing but a new watch.
func (o *Orders) Run(ctx context.Context) {
	reconnected := o.deps.Broker.Conn.StatusChanged(nats.CONNECTED)
	defer o.deps.Broker.Conn.RemoveStatusListener(reconnected)
	for pause := minPause; ctx.Err() == nil; {
		listed, err := o.watchOnce(ctx, reconnected)
		if listed {
			pause = minPause
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		o.deps.Logger.Warn("watch of orders ended, beginning again", "cause", err)
		rest(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// watchOnce lists and watches until it is time to list again (nil). listed: the list was completed.
func (o *Orders) watchOnce(ctx context.Context, reconnected <-chan nats.Status) (listed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// With a deadline of ctx the watch would end then; without one a lost answer would be awaited for ever.
	setup := time.AfterFunc(o.cfg.Timeout, cancel)
	defer setup.Stop()
	kv, err := bucket(ctx, o.deps.Broker)
	if err != nil {
		return false, err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return false, fmt.Errorf("watch bucket %s: %w", broker.BucketControl, err)
	}
	defer drain(w)
	relist := time.NewTimer(o.cfg.RelistEvery)
	defer relist.Stop()
	list := map[string]entry{}
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return listed, errors.New("watch was closed")
			case e == nil:
				listed = true
				setup.Stop()
				o.complete(list)
			case listed:
				o.take(e.Key(), entryOf(e))
			default:
				list[e.Key()] = entryOf(e)
			}
		case <-relist.C:
			return listed, nil
		case <-reconnected:
			return listed, nil
		case <-ctx.Done():
			return listed, fmt.Errorf("list bucket %s: %w", broker.BucketControl, ctx.Err())
		}
	}
}

func entryOf(e jetstream.KeyValueEntry) entry {
	v := entry{revision: e.Revision()}
	if e.Operation() == jetstream.KeyValuePut {
		v.value = append([]byte{}, e.Value()...)
	}
	return v
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
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
