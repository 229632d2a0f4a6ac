package partition

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/tracing"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// Defaults of Config.
const (
	DefaultCheckpointEvery  = 2 * time.Second
	DefaultCheckpointUsers  = 50_000
	DefaultCheckpointBytes  = 64 << 20
	DefaultEmitEvery        = 5 * time.Millisecond
	DefaultEventsMessage    = 256 << 10
	DefaultUnackedEvents    = 50_000
	DefaultUnackedBytes     = 8 << 20
	DefaultMessagesInHand   = 16
	DefaultMaxQuestions     = 1024
	DefaultMaxWaiting       = 10_000
	DefaultNegativeWait     = 500 * time.Millisecond
	DefaultBrokerTimeout    = 2 * time.Second
	DefaultDrainTimeout     = 10 * time.Second
	DefaultPollEvery        = time.Second
	DefaultHaltAfter        = 30 * time.Second // a leader that was cut off believes in itself for up to 20 s
	DefaultDigestEvery      = 30 * time.Second
	DefaultSnapshotEvery    = 10 * time.Minute
	DefaultSnapshotLogBytes = 256 << 20
	DefaultRestoreSpares    = 5000
	DefaultTickBackoff      = 100 * time.Millisecond
	DefaultTickBackoffLimit = 5 * time.Second
)

// Config is what a partition needs to know. Zero values of all but Path are replaced by the defaults.
type Config struct {
	Partition int
	Path      string // the bbolt file
	Writer    string // names the owner in the ticks that it appends; 1–64 visible ASCII characters

	CheckpointEvery time.Duration // longest time that something applied stays out of a checkpoint, if all goes well
	CheckpointUsers int           // users touched since the last checkpoint that make the next one due
	CheckpointBytes int64         // bytes of overlay that make the next one due; twice this is the most that is held

	FileBytes  int64 // size of the file at which checkpoints fail; 0 = no limit
	CacheBytes int64 // users in memory that are not being written to; 0 = the store's default

	// EmitEvery is the least time between two messages of EVENTS-p that are not full. After a silence an event leaves at once; in a
	// burst it waits for others, because every message costs the broker an fsync that appends could have used.
	EmitEvery     time.Duration
	EventsMessage int   // bytes of one message of EVENTS-p; a larger single event travels alone
	UnackedEvents int   // events derived and not acknowledged at which applying pauses
	UnackedBytes  int64 // the same in bytes

	MessagesInHand int // messages read and not applied

	MaxQuestions int           // questions received and not looked at
	MaxWaiting   int           // questions that wait for a position, or for an outcome
	NegativeWait time.Duration // how long a negative answer may take to become final, where the question gives no time

	BrokerTimeout time.Duration // one request to the broker
	DrainTimeout  time.Duration // how long draining may take to emit and to make the last checkpoint
	PollEvery     time.Duration // rhythm of asking for the log's last sequence
	HaltAfter     time.Duration // for how long a fault of the log's identity must be found, again and again, until the partition halts
	DigestEvery   time.Duration // rhythm in which a standby compares its state with the owner's

	SnapshotEvery    time.Duration // rhythm of snapshots, if anything was applied; negative: none are made, and nothing is trimmed
	SnapshotLogBytes int64         // of the log, applied since the last snapshot, that makes the next one due earlier
	RestoreSpares    uint64        // a file that fits is replaced by a snapshot only if that spares the replay of more messages

	TickBackoff      time.Duration // after the first tick; doubles while ticks change nothing
	TickBackoffLimit time.Duration
}

// Deps is what a partition works with.
type Deps struct {
	Broker  *broker.Broker
	Logger  *slog.Logger
	Metrics *Metrics         // shared by the partitions of a process
	Now     func() time.Time // the wall clock: due times, ages, ticks' times; nil = time.Now
	Tracer  *tracing.Tracer  // nil: spans go nowhere

	// Disk, if set, is held while a checkpoint is written; shared by the partitions of a process, so that not all of them take the processors and the
	// disk from appends at once.
	Disk sync.Locker

	// Shelves is where snapshots lie; shared by the partitions of a process. nil: with the defaults, and metrics that are not shown.
	Shelves *snapshot.Shelves

	// Changed, if set, is called after every change of State, from the partition's goroutine; it must not block.
	Changed func()

	// Pulse turns with the actor's loop. It may be nil.
	Pulse *lifecycle.Pulse

	// Guard, if set, sees every message before it is applied.
	Guard Guard

	// Failpoint, if set, is called at each step of a partition's work, from whichever goroutine takes it. An error aborts the partition
	// as a crash would: nothing is flushed, only the file is closed. For tests. Steps: see the Step constants.
	Failpoint func(step string) error
}

// Steps at which Deps.Failpoint is called, in the order in which a message meets them.
const (
	StepReceived            = "received"             // in hand, not applied
	StepApplied             = "applied"              // state changed in memory, events derived
	StepEmitting            = "emitting"             // before a message of events is published
	StepEmitted             = "emitted"              // acknowledged by EVENTS-p, not noted
	StepCheckpointBegin     = "checkpoint-begin"     // frozen and emitted, the transaction has not begun
	StepCheckpointWriting   = "checkpoint-writing"   // inside the transaction
	StepCheckpointCommitted = "checkpoint-committed" // durable, not noted
)

// Validate joins all faults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Partition < 0, "partition %d is negative", c.Partition)
	fault(c.Path == "", "path of the partition's file is empty")
	fault(c.CheckpointEvery < 0, "checkpoint interval %s is negative", c.CheckpointEvery)
	fault(c.CheckpointUsers < 0, "checkpoint users %d is negative", c.CheckpointUsers)
	fault(c.CheckpointBytes < 0, "checkpoint bytes %d is negative", c.CheckpointBytes)
	fault(c.FileBytes < 0, "file bytes %d is negative", c.FileBytes)
	fault(c.HaltAfter < 0, "time of doubt before a halt %s is negative", c.HaltAfter)
	fault(c.SnapshotLogBytes < 0, "snapshot log bytes %d is negative", c.SnapshotLogBytes)
	fault(c.DigestEvery < 0, "digest interval %s is negative", c.DigestEvery)
	fault(c.EmitEvery < 0, "emit interval %s is negative", c.EmitEvery)
	fault(c.EventsMessage < 0 || c.EventsMessage > 512<<10, "events message of %d bytes, not within 0 and %d", c.EventsMessage, 512<<10)
	fault(c.MessagesInHand < 0 || c.MessagesInHand > maxInHand, "messages in hand %d, not within 0 and %d", c.MessagesInHand, maxInHand)
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	fill(&c.Writer, "worker")
	fill(&c.CheckpointEvery, DefaultCheckpointEvery)
	fill(&c.CheckpointUsers, DefaultCheckpointUsers)
	fill(&c.CheckpointBytes, DefaultCheckpointBytes)
	fill(&c.EmitEvery, DefaultEmitEvery)
	fill(&c.EventsMessage, DefaultEventsMessage)
	fill(&c.UnackedEvents, DefaultUnackedEvents)
	fill(&c.UnackedBytes, DefaultUnackedBytes)
	fill(&c.MessagesInHand, DefaultMessagesInHand)
	fill(&c.MaxQuestions, DefaultMaxQuestions)
	fill(&c.MaxWaiting, DefaultMaxWaiting)
	fill(&c.NegativeWait, DefaultNegativeWait)
	fill(&c.BrokerTimeout, DefaultBrokerTimeout)
	fill(&c.DrainTimeout, DefaultDrainTimeout)
	fill(&c.PollEvery, DefaultPollEvery)
	fill(&c.HaltAfter, DefaultHaltAfter)
	fill(&c.DigestEvery, DefaultDigestEvery)
	fill(&c.SnapshotEvery, DefaultSnapshotEvery)
	fill(&c.SnapshotLogBytes, DefaultSnapshotLogBytes)
	fill(&c.RestoreSpares, DefaultRestoreSpares)
	fill(&c.TickBackoff, DefaultTickBackoff)
	fill(&c.TickBackoffLimit, DefaultTickBackoffLimit)
	return c
}

func fill[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
