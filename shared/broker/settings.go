package broker

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/record"
)

// Defaults and bounds of Settings.
const (
	DefaultTriggersMaxBytes = 2 << 30         // bytes a partition
	DefaultEventsMaxBytes   = 512 << 20       // bytes a partition
	DefaultDuplicateWindow  = 2 * time.Minute // how long the server knows a batch again

	// DefaultSnapshotsMaxBytes is for all partitions together. Of each there are three for a moment: two that are kept and one in the making.
	DefaultSnapshotsMaxBytes = 8 << 30
	MaxPartitions            = 1024

	// MaxMessageBytes bounds one message of a log or of the events, headers included. It is the server's default
	// max_payload.
	MaxMessageBytes = 1 << 20

	// What the buckets reserve, in bytes a replica.
	DeploymentMaxBytes = 4 << 20
	ModulesMaxBytes    = 64 << 20
	MembersMaxBytes    = 16 << 20
	SnapshotsMaxBytes  = 4 << 20 // of the bucket that says where they lie
	ControlMaxBytes    = 4 << 20
	LimitsMaxBytes     = 16 << 20
	IngressesMaxBytes  = 4 << 20
	RevokedMaxBytes    = 64 << 20

	// RevokedMaxKeys is what BucketRevoked holds at most; each takes some 500 bytes there, and 100 in each ingress.
	RevokedMaxKeys = 100_000

	// DefaultMemberTTL is after which time a worker or an ingress that is not heard of is gone.
	DefaultMemberTTL = 6 * time.Second
	// DefaultMissingFor is longer than brokers that have just started need to find their streams, or to elect who knows.
	DefaultMissingFor = 10 * time.Second
	// MinMemberTTL is the least age that the server accepts, times the renewals that fit in a TTL.
	MinMemberTTL = 300 * time.Millisecond
)

// eventsDuplicateWindow is as short as the server allows: events are told apart by expected sequences, not by ids.
const eventsDuplicateWindow = 100 * time.Millisecond

// Settings is what the streams and buckets of a deployment are made with.
type Settings struct {
	Partitions        int           // fixed for the life of the data; 1..MaxPartitions
	Replicas          int           // 1, 3 or 5; 0 = 1
	TriggersMaxBytes  int64         // per partition; a full log refuses; 0 = default
	EventsMaxBytes    int64         // per partition; a full one drops the oldest events; 0 = default
	SnapshotsMaxBytes int64         // of all partitions together; a full store refuses; 0 = default
	Limits            record.Limits // first record of every log
	DuplicateWindow   time.Duration // of TRIGGERS-p; 0 = default
	MemberTTL         time.Duration // how long a key of BucketMembers and BucketIngresses lives unless it is renewed; 0 = default
	MissingFor        time.Duration // how long Ensure must be told that a known log is missing before it believes that; 0 = default
}

// ReservedBytes is the storage that the streams and buckets of s reserve on each replica: what JetStream's store must be
// allowed to hold.
func (s Settings) ReservedBytes() int64 {
	s = s.withDefaults()
	return int64(s.Partitions)*(s.TriggersMaxBytes+s.EventsMaxBytes) + s.SnapshotsMaxBytes +
		DeploymentMaxBytes + ModulesMaxBytes + MembersMaxBytes + SnapshotsMaxBytes + ControlMaxBytes + LimitsMaxBytes + IngressesMaxBytes + RevokedMaxBytes
}

// Validate joins all that is wrong with s.
func (s Settings) Validate() error {
	s = s.withDefaults()
	var faults []error
	check := func(ok bool, format string, v ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, v...))
		}
	}
	check(s.Partitions >= 1 && s.Partitions <= MaxPartitions, "-partitions %d: want 1 to %d", s.Partitions, MaxPartitions)
	check(s.Replicas == 1 || s.Replicas == 3 || s.Replicas == 5, "-replicas %d: want 1, 3 or 5", s.Replicas)
	check(s.TriggersMaxBytes >= MaxMessageBytes, "-triggers-max-bytes %d: want at least %d", s.TriggersMaxBytes, MaxMessageBytes)
	check(s.EventsMaxBytes >= MaxMessageBytes, "-events-max-bytes %d: want at least %d", s.EventsMaxBytes, MaxMessageBytes)
	check(s.SnapshotsMaxBytes >= MaxMessageBytes, "-snapshots-max-bytes %d: want at least %d", s.SnapshotsMaxBytes, MaxMessageBytes)
	check(s.DuplicateWindow >= eventsDuplicateWindow, "-duplicate-window %v: want at least %v", s.DuplicateWindow, eventsDuplicateWindow)
	check(s.MemberTTL >= MinMemberTTL, "-member-ttl %v: want at least %v", s.MemberTTL, MinMemberTTL)
	return errors.Join(faults...)
}

func (s Settings) withDefaults() Settings {
	s.Replicas = orDefault(s.Replicas, 1)
	s.TriggersMaxBytes = orDefault(s.TriggersMaxBytes, DefaultTriggersMaxBytes)
	s.EventsMaxBytes = orDefault(s.EventsMaxBytes, DefaultEventsMaxBytes)
	s.SnapshotsMaxBytes = orDefault(s.SnapshotsMaxBytes, DefaultSnapshotsMaxBytes)
	s.DuplicateWindow = orDefault(s.DuplicateWindow, DefaultDuplicateWindow)
	s.MemberTTL = orDefault(s.MemberTTL, DefaultMemberTTL)
	s.MissingFor = orDefault(s.MissingFor, DefaultMissingFor)
	return s
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Metadata of the streams: what a stream says of itself.
const (
	metaLogID      = "triggerd-log-id"
	metaPartitions = "triggerd-partitions"
	metaFormat     = "triggerd-format"
)

// layout is the format of the streams themselves: names, subjects, what they say of each other. Each batch says what it is written in.
const layout = "1"

func (s Settings) metadata(logID string) map[string]string {
	return map[string]string{
		metaLogID:      logID,
		metaPartitions: strconv.Itoa(s.Partitions),
		metaFormat:     layout,
	}
}

// triggersConfig: a full log refuses, nothing in it can be deleted one by one, and only its leader is read.
func (s Settings) triggersConfig(p int, logID string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        TriggersStream(p),
		Description: "log of partition " + strconv.Itoa(p),
		Subjects:    []string{TriggersSubject(p)},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    s.TriggersMaxBytes,
		MaxMsgSize:  MaxMessageBytes,
		Duplicates:  s.DuplicateWindow,
		Replicas:    s.Replicas,
		DenyDelete:  true,
		Metadata:    s.metadata(logID),
	}
}

// eventsConfig: a full stream drops the oldest events; they can be derived again as long as the log is there.
func (s Settings) eventsConfig(p int, logID string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        EventsStream(p),
		Description: "events of partition " + strconv.Itoa(p),
		Subjects:    []string{EventsSubject(p)},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxBytes:    s.EventsMaxBytes,
		MaxMsgSize:  MaxMessageBytes,
		Duplicates:  eventsDuplicateWindow,
		Replicas:    s.Replicas,
		DenyDelete:  true,
		Metadata:    s.metadata(logID),
	}
}
