package ratelimit

import (
	"context"
	"encoding/base64"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// key is an account's key in the bucket: account names may hold what subjects may not.
func key(account string) string { return base64.RawURLEncoding.EncodeToString([]byte(account)) }

func accountOf(key string) (string, error) {
	account, err := base64.RawURLEncoding.Strict().DecodeString(key)
	return string(account), err
}

// keepWatching follows the bucket until ctx ends.
func (l *Limiter) keepWatching(ctx context.Context) {
	var trouble, unreadable telemetry.Trouble
	unreadable.Quiet = 2 * l.cfg.RelistEvery
	shown := map[string]bool{} // by the list under way
	l.deps.Broker.KeepWatching(ctx, broker.Watch{Bucket: broker.BucketLimits, RelistEvery: l.cfg.RelistEvery, Timeout: l.cfg.ListTimeout,
		Begin: func() { clear(shown) },
		Take: func(e jetstream.KeyValueEntry, _ bool) {
			account, err := accountOf(e.Key())
			if err == nil {
				shown[account] = true
				err = l.learn(account, e)
			}
			if err != nil {
				unreadable.Again(l.deps.Log, slog.LevelError, "limit cannot be read: what was known of its account stays", "bucket", broker.BucketLimits, "key", e.Key(), "account", account, "error", err)
			}
		},
		Listed: func(context.Context) {
			trouble.Over(l.deps.Log, "watch of limits goes on")
			l.keepOnly(shown)
			l.metrics.listed(time.Now())
		},
		Failed: func(err error) {
			l.metrics.failures.Inc()
			trouble.Again(l.deps.Log, slog.LevelWarn, "watch of limits ended, beginning again", "error", err)
		}})
}

// learn takes what the bucket says of an account.
func (l *Limiter) learn(account string, e jetstream.KeyValueEntry) error {
	if e.Operation() != jetstream.KeyValuePut {
		l.change(func() { delete(l.own, account) })
		return nil
	}
	v, err := parse(e.Value())
	if err == nil {
		l.change(func() { l.own[account] = v.limit() })
	}
	return err
}

// keepOnly ends a list: what it did not show is not there any more, not even as deleted.
func (l *Limiter) keepOnly(shown map[string]bool) {
	l.change(func() {
		for account := range l.own {
			if !shown[account] {
				delete(l.own, account)
			}
		}
	})
}

func (l *Limiter) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.active.Store(!l.cfg.Default.off() || len(l.own) > 0)
}
