// Package broker knows how triggerd uses NATS: names of streams, subjects and buckets, the partition
// function, how they are made, and how one is recognised again.
package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/record"
)

func TriggersStream(p int) string  { panic("skeleton") } // "TRIGGERS-7"
func TriggersSubject(p int) string { panic("skeleton") } // "triggers.7"
func EventsStream(p int) string    { panic("skeleton") } // "EVENTS-7"
func EventsSubject(p int) string   { panic("skeleton") } // "events.7"
func StateSubject(p int) string    { panic("skeleton") } // "state.7"

// Partition is FNV-1a-32(account \x00 user) mod count, unsigned. Never changes: it says where data lies.
func Partition(account, user string, count int) int { panic("skeleton") }

// Settings is what the streams and buckets of a deployment are made with.
type Settings struct {
	Partitions       int           // fixed for the life of the data
	Replicas         int           // 1 or 3
	TriggersMaxBytes int64         // per partition; a full log refuses
	EventsMaxBytes   int64         // per partition; a full one drops the oldest events
	Limits           record.Limits // first record of every log
	DuplicateWindow  time.Duration // of TRIGGERS-p; 2 min
}

// Broker is one process's access to a deployment's streams. Safe for concurrent use.
type Broker struct {
	Conn *nats.Conn
	JS   jetstream.JetStream
	// ...
}

// Ensure makes what is missing and checks what is there: partition count (KV DEPLOYMENT, Create), streams with their log
// ids, buckets, the first record of each log. Idempotent, safe to run from several processes at once.
// It refuses: another partition count, a known stream that is missing.
func Ensure(ctx context.Context, conn *nats.Conn, s Settings, log *slog.Logger) (*Broker, error) {
	panic("skeleton")
}

func (b *Broker) Partitions() int { panic("skeleton") }

// LogID is the identity of partition p's log, as recorded when it was created; CheckLog reads the stream again
// and compares (call it at start and after every reconnect).
func (b *Broker) LogID(p int) string                        { panic("skeleton") }
func (b *Broker) CheckLog(ctx context.Context, p int) error { panic("skeleton") }

// LastSeq asks the stream's leader for the last sequence of TRIGGERS-p.
func (b *Broker) LastSeq(ctx context.Context, p int) (uint64, error) { panic("skeleton") }

// Message reads one message of TRIGGERS-p from the leader. jetstream.ErrMsgNotFound if it is not there.
func (b *Broker) Message(ctx context.Context, p int, seq uint64) (*jetstream.RawStreamMsg, error) {
	panic("skeleton")
}

// LastEvents reads the last message of EVENTS-p from the leader; nil if there is none yet.
func (b *Broker) LastEvents(ctx context.Context, p int) (*jetstream.RawStreamMsg, error) {
	panic("skeleton")
}
