package worker

import (
	"errors"
	"flag"
	"time"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/worker/internal/partition"
	"github.com/triggerd/triggerd/worker/internal/snapshot"
)

// Memory of all partitions together, by default.
const (
	DefaultOverlayBytes = 512 << 20 // what is applied and not in a file yet
	DefaultCacheBytes   = 128 << 20 // users who are not being written to
)

// DefaultLeaveTimeout fits, with the drain's, into the 30 s that most service managers give.
const DefaultLeaveTimeout = 15 * time.Second

// minPartitionBytes lets a file grow at all: it does in steps of this size.
const minPartitionBytes = 16 << 20

// Config is a worker's settings. Zero values are replaced by the defaults, except DataDir.
type Config struct {
	DataDir   string // the partitions' files are in <DataDir>/worker; no flag here: the program has one
	DataHomes int    // directories below DataDir, of which the first that no other worker has is this one's DataDir; 0 = DataDir itself
	Name      string // of this worker in ticks; empty = its id among the members

	CheckpointEvery time.Duration // longest time that something applied stays out of the file, if all goes well
	CheckpointUsers int           // users touched that make a partition's checkpoint due earlier
	OverlayBytes    config.Bytes  // of all partitions together: what is being committed and what is applied meanwhile
	CacheBytes      config.Bytes  // of all partitions together: users who are not being written to
	EmitEvery       time.Duration // least time between two messages of a partition's events that are not full
	DigestEvery     time.Duration // rhythm in which standbys compare their state with their owners'
	DrainTimeout    time.Duration // how long emitting the rest and the last checkpoint may take

	SnapshotEvery     time.Duration // rhythm of a partition's snapshots, if anything was applied
	SnapshotLogBytes  config.Bytes  // of a partition's log, applied since its last snapshot, that make the next one due earlier
	SnapshotRate      config.Bytes  // a second, compressed, of all partitions together, while a snapshot is made
	SnapshotShare     float64       // of one processor that making a snapshot takes
	SnapshotMaxBytes  config.Bytes  // largest file that is made a snapshot of, or restored
	RestoreSpares     uint64        // messages: a file that fits is replaced by a snapshot only if that spares the replay of more
	PartitionMaxBytes config.Bytes  // of a partition's file, at which checkpoints fail; 0 = no limit

	HaltAfter    time.Duration // for how long a partition's log must be found wrong, again and again, until the partition halts
	NoStandby    bool          // follow nothing, so that moves wait for the next owner to read its files, and the log
	LeaveTimeout time.Duration // how long others may take to catch up with what is here when the worker is told to stop
}

// RegisterFlags adds the flags and sets their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.fill()
	fs.DurationVar(&c.CheckpointEvery, "checkpoint-every", c.CheckpointEvery, "longest `time` that applied state stays out of the file")
	fs.IntVar(&c.CheckpointUsers, "checkpoint-users", c.CheckpointUsers, "`number` of users touched that makes a checkpoint due earlier")
	fs.Var(&c.OverlayBytes, "overlay-bytes", "`size` of applied state in memory that is not in a file yet, all partitions together")
	fs.Var(&c.CacheBytes, "cache-bytes", "`size` of users in memory who are not being written to, all partitions together")
	fs.DurationVar(&c.EmitEvery, "emit-every", c.EmitEvery, "least `time` between two messages of a partition's events; a full one, and the first after a silence, leave at once")
	fs.DurationVar(&c.DigestEvery, "digest-every", c.DigestEvery, "`time` between two comparisons of a standby's state with its owner's")
	fs.DurationVar(&c.DrainTimeout, "worker-drain-timeout", c.DrainTimeout, "longest `time` for emitting the rest and the last checkpoint")
	fs.DurationVar(&c.SnapshotEvery, "snapshot-every", c.SnapshotEvery, "`time` between two snapshots of a partition, if anything was applied")
	fs.Var(&c.SnapshotLogBytes, "snapshot-log-bytes", "`size` of a partition's log, applied since its last snapshot, that makes the next one due earlier; at most an eighth of -triggers-max-bytes")
	fs.Var(&c.SnapshotRate, "snapshot-rate", "`size` a second, compressed, at which snapshots are written and read back, all partitions together")
	fs.Float64Var(&c.SnapshotShare, "snapshot-share", c.SnapshotShare, "`share` of one processor that making a snapshot takes, unless the log grows too fast for that")
	fs.Var(&c.SnapshotMaxBytes, "snapshot-max-bytes", "largest `size` of a file that is made a snapshot of, or restored from one")
	fs.Uint64Var(&c.RestoreSpares, "restore-spares", c.RestoreSpares, "`number` of messages of which a snapshot must spare the replay to take the place of a file that fits")
	fs.Var(&c.PartitionMaxBytes, "partition-max-bytes", "`size` of a partition's file at which checkpoints fail and applying pauses; 0 is no limit")
	fs.DurationVar(&c.HaltAfter, "halt-after", c.HaltAfter, "`time` for which a broker must say, again and again, what halts a partition: that its log is missing, or ends too early")
	fs.Var((*standby)(&c.NoStandby), "standby", "`number` of partitions' standbys, 0 or 1: a worker that follows, to take over at once")
	fs.DurationVar(&c.LeaveTimeout, "leave-timeout", c.LeaveTimeout, "longest `time` that other workers may take to catch up when this one is told to stop; draining comes on top")
}

func (c *Config) fill() {
	set(&c.CheckpointEvery, partition.DefaultCheckpointEvery)
	set(&c.CheckpointUsers, partition.DefaultCheckpointUsers)
	set(&c.OverlayBytes, DefaultOverlayBytes)
	set(&c.CacheBytes, DefaultCacheBytes)
	set(&c.EmitEvery, partition.DefaultEmitEvery)
	set(&c.DigestEvery, partition.DefaultDigestEvery)
	set(&c.SnapshotEvery, partition.DefaultSnapshotEvery)
	set(&c.SnapshotLogBytes, partition.DefaultSnapshotLogBytes)
	set(&c.SnapshotRate, snapshot.DefaultRate)
	set(&c.SnapshotShare, snapshot.DefaultShare)
	set(&c.SnapshotMaxBytes, snapshot.DefaultMaxBytes)
	set(&c.RestoreSpares, partition.DefaultRestoreSpares)
	set(&c.DrainTimeout, partition.DefaultDrainTimeout)
	set(&c.HaltAfter, partition.DefaultHaltAfter)
	set(&c.LeaveTimeout, DefaultLeaveTimeout)
}

// standby is the number of standbys as a setting. It is a flag.Value.
type standby bool

func (s *standby) Set(text string) error {
	if text != "0" && text != "1" {
		return errors.New("neither 0 nor 1")
	}
	*s = text == "0"
	return nil
}

func (s *standby) String() string {
	if s != nil && bool(*s) {
		return "0"
	}
	return "1"
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
