package broker

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What buckets and object stores are to the broker: streams with subjects of a known form. They are made as such, not by the library, so that
// a setting that differs can be named and put right as that of a log.
const (
	bucketStreamPrefix = "KV_"
	objectStreamPrefix = "OBJ_"
	unlimited          = -1
)

// bucketDuplicates is the library's: it repeats a write under the same id.
const bucketDuplicates = 2 * time.Minute

// buckets are all that a deployment has besides its logs and events.
func (s Settings) buckets() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		s.bucketConfig(BucketDeployment, DeploymentMaxBytes),
		s.bucketConfig(BucketModules, ModulesMaxBytes),
		s.liveConfig(BucketMembers, MembersMaxBytes),
		s.bucketConfig(BucketSnapshots, SnapshotsMaxBytes),
		s.bucketConfig(BucketControl, ControlMaxBytes),
		s.bucketConfig(BucketLimits, LimitsMaxBytes),
		s.liveConfig(BucketIngresses, IngressesMaxBytes),
		s.revokedConfig(),
		s.snapshotsConfig(),
	}
}

// SnapshotsStream is the stream of StoreSnapshots.
const SnapshotsStream = objectStreamPrefix + StoreSnapshots

// SharedStreams are the streams of a deployment that belong to no partition.
func SharedStreams() (names []string) {
	for _, cfg := range (Settings{}).buckets() {
		names = append(names, cfg.Name)
	}
	return names
}

func (s Settings) bucketConfig(name string, maxBytes int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              bucketStreamPrefix + name,
		Subjects:          []string{bucketSubject(name, ">")},
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardNew,
		MaxBytes:          maxBytes,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           unlimited,
		MaxConsumers:      unlimited,
		MaxMsgSize:        unlimited,
		Duplicates:        bucketDuplicates,
		Replicas:          s.Replicas,
		AllowRollup:       true,
		AllowDirect:       true,
		DenyDelete:        true,
	}
}

func bucketSubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// liveConfig is a bucket of processes that live: keys that are not renewed vanish by themselves. It is on disk so that a broker that restarts still
// has it; the keys of those that did not survive do not.
func (s Settings) liveConfig(name string, maxBytes int64) jetstream.StreamConfig {
	cfg := s.bucketConfig(name, maxBytes)
	cfg.MaxAge = s.MemberTTL
	cfg.Duplicates = min(s.MemberTTL, bucketDuplicates)
	return cfg
}

// revokedConfig: keys may come with an end of their own, and are few enough for every ingress to hold them all.
func (s Settings) revokedConfig() jetstream.StreamConfig {
	cfg := s.bucketConfig(BucketRevoked, RevokedMaxBytes)
	cfg.MaxMsgs = RevokedMaxKeys
	cfg.AllowMsgTTL = true
	return cfg
}

// snapshotsConfig is the object store of the snapshots. It is a bucket of its own, because giving up an object locks its stream.
func (s Settings) snapshotsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        objectStreamPrefix + StoreSnapshots,
		Description: "snapshots of the partitions",
		Subjects:    []string{"$O." + StoreSnapshots + ".C.>", "$O." + StoreSnapshots + ".M.>"},
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    s.SnapshotsMaxBytes,
		Duplicates:  bucketDuplicates,
		Replicas:    s.Replicas,
		AllowRollup: true,
		AllowDirect: true,
	}
}
