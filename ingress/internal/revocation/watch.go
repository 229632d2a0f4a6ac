package revocation

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// watch watches until ctx ends.
func (s *Set) watch(ctx context.Context) {
	var trouble, full telemetry.Trouble
	full.Quiet = telemetry.Soon
	s.broker.KeepWatching(ctx, broker.Watch{Bucket: Bucket, RelistEvery: s.cfg.RelistEvery, Timeout: s.cfg.ListTimeout,
		Begin: s.known.begin,
		Take: func(e jetstream.KeyValueEntry, _ bool) {
			if s.take(e) {
				full.Again(s.log, slog.LevelError, "more tokens are revoked than are held here: some of them still pass", "limit", s.cfg.MaxKeys)
			}
		},
		Listed: func(context.Context) {
			trouble.Over(s.log, "watch of revoked tokens goes on")
			s.markListed()
		},
		Failed: func(err error) {
			s.metrics.failures.Inc()
			s.markFailed(err)
			trouble.Again(s.log, slog.LevelWarn, "watch of revoked tokens ended, beginning again; those known so far stay revoked", "error", err)
		}})
}

func (s *Set) markListed() {
	now := time.Now()
	s.known.complete(now)
	s.metrics.lists.Inc()
	s.mu.Lock()
	s.listing, s.failed = now, nil
	s.mu.Unlock()
	select {
	case <-s.listed:
	default:
		close(s.listed) // only this goroutine closes it
	}
}

func (s *Set) markFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
}

// take feeds the set. full: there was no room. What cannot be read revokes: its key alone says which token is meant.
func (s *Set) take(entry jetstream.KeyValueEntry) (full bool) {
	id, ok := idOf(entry.Key())
	if !ok {
		s.log.Warn("key in bucket is no token", "bucket", Bucket, "revision", entry.Revision())
		return false
	}
	if entry.Operation() != jetstream.KeyValuePut {
		s.known.remove(id, entry.Revision())
		return false
	}
	v, err := parse(entry.Value())
	if err != nil {
		s.log.Error("revocation cannot be read, and so holds until it is undone", "bucket", Bucket, "key", entry.Key(), "error", err)
	}
	return s.known.add(id, v.until(), entry.Revision())
}
