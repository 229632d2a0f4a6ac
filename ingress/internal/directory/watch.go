package directory

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// keepWatching watches until Close.
func (d *Directory) keepWatching() {
	defer d.wg.Done()
	var trouble telemetry.Trouble
	d.broker.KeepWatching(d.watch, broker.Watch{Bucket: Bucket, RelistEvery: d.cfg.RelistEvery, Timeout: d.cfg.ListTimeout,
		Take: func(e jetstream.KeyValueEntry, _ bool) { d.take(e) },
		Listed: func(context.Context) {
			trouble.Over(d.log, "watch of modules goes on")
			d.markListed()
		},
		Failed: func(err error) {
			d.metrics.failures.Inc()
			trouble.Again(d.log, slog.LevelWarn, "watch of modules ended, beginning again", "error", err)
		}})
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
