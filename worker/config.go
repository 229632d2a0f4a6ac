package worker

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// DefaultOverlayBytes is the memory for what is applied and not in a file yet, of all partitions together.
const DefaultOverlayBytes = 512 << 20

// Config is a worker's settings. Zero values are replaced by the defaults, except DataDir.
type Config struct {
	DataDir string // the partitions' files are in <DataDir>/worker; no flag here: the program has one
	Name    string // of this worker in ticks; empty = "worker"

	CheckpointEvery time.Duration // longest time that something applied stays out of the file, if all goes well
	CheckpointUsers int           // users touched that make a partition's checkpoint due earlier
	OverlayBytes    config.Bytes  // of all partitions together: what is being committed and what is applied meanwhile
	DrainTimeout    time.Duration // how long emitting the rest and the last checkpoint may take
}

// RegisterFlags adds the flags and sets their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.fill()
	fs.DurationVar(&c.CheckpointEvery, "checkpoint-every", c.CheckpointEvery, "longest `time` that applied state stays out of the file")
	fs.IntVar(&c.CheckpointUsers, "checkpoint-users", c.CheckpointUsers, "`number` of users touched that makes a checkpoint due earlier")
	fs.Var(&c.OverlayBytes, "overlay-bytes", "`size` of applied state in memory that is not in a file yet, all partitions together")
	fs.DurationVar(&c.DrainTimeout, "worker-drain-timeout", c.DrainTimeout, "longest `time` for emitting the rest and the last checkpoint")
}

// Validate joins all faults.
func (c *Config) Validate() error {
	filled := *c
	filled.fill()
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(filled.CheckpointEvery < 10*time.Millisecond, "-checkpoint-every is %s, under 10ms", filled.CheckpointEvery)
	fault(filled.CheckpointUsers < 1, "-checkpoint-users is %d, under 1", filled.CheckpointUsers)
	fault(filled.OverlayBytes < 1<<20, "-overlay-bytes is %s, under 1MiB", filled.OverlayBytes.String())
	fault(filled.DrainTimeout < 0, "-worker-drain-timeout is %s, under 0", filled.DrainTimeout)
	return errors.Join(faults...)
}

func (c *Config) fill() {
	set(&c.CheckpointEvery, partition.DefaultCheckpointEvery)
	set(&c.CheckpointUsers, partition.DefaultCheckpointUsers)
	set(&c.OverlayBytes, DefaultOverlayBytes)
	set(&c.DrainTimeout, partition.DefaultDrainTimeout)
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
