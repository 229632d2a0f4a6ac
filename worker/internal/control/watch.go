package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Pauses between attempts to read from the leader, doubling.
const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// Run watches until ctx ends. What a list does not show is not there any more.
func (o *Orders) Run(ctx context.Context) {
	var trouble telemetry.Trouble
	var list map[string]entry
	o.deps.Broker.KeepWatching(ctx, broker.Watch{Bucket: broker.BucketControl, RelistEvery: o.cfg.RelistEvery, Timeout: o.cfg.Timeout,
		Begin: func() { list = map[string]entry{} },
		Take: func(e jetstream.KeyValueEntry, listed bool) {
			if listed {
				o.take(e.Key(), entryOf(e))
			} else {
				list[e.Key()] = entryOf(e)
			}
		},
		Listed: func(context.Context) {
			trouble.Over(o.deps.Logger, "watch of orders goes on")
			o.complete(list)
		},
		Failed: func(err error) {
			trouble.Again(o.deps.Logger, slog.LevelWarn, "watch of orders ended, beginning again", "cause", err)
		}})
}

func entryOf(e jetstream.KeyValueEntry) entry {
	v := entry{revision: e.Revision()}
	if e.Operation() == jetstream.KeyValuePut {
		v.value = append([]byte{}, e.Value()...)
	}
	return v
}

func rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
