package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

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
	fault(filled.DataHomes < 0, "-data-homes is %d, under 0", filled.DataHomes)
	fault(filled.CheckpointEvery < 10*time.Millisecond, "-checkpoint-every is %s, under 10ms", filled.CheckpointEvery)
	fault(filled.CheckpointUsers < 1, "-checkpoint-users is %d, under 1", filled.CheckpointUsers)
	fault(filled.OverlayBytes < 1<<20, "-overlay-bytes is %s, under 1MiB", filled.OverlayBytes.String())
	fault(filled.CacheBytes < 1<<20, "-cache-bytes is %s, under 1MiB", filled.CacheBytes.String())
	fault(filled.EmitEvery < 0 || filled.EmitEvery > time.Second, "-emit-every is %s, not over 0 and up to 1s", filled.EmitEvery)
	fault(filled.DigestEvery < 100*time.Millisecond, "-digest-every is %s, under 100ms", filled.DigestEvery)
	fault(filled.SnapshotEvery < time.Second, "-snapshot-every is %s, under 1s", filled.SnapshotEvery)
	fault(filled.SnapshotLogBytes < 1<<20, "-snapshot-log-bytes is %s, under 1MiB", filled.SnapshotLogBytes.String())
	fault(filled.SnapshotRate < 64<<10, "-snapshot-rate is %s, under 64KiB", filled.SnapshotRate.String())
	fault(!(filled.SnapshotShare >= 0.01 && filled.SnapshotShare <= 1), "-snapshot-share is %g, not within 0.01 and 1", filled.SnapshotShare)
	fault(filled.SnapshotMaxBytes < 1<<20, "-snapshot-max-bytes is %s, under 1MiB", filled.SnapshotMaxBytes.String())
	fault(filled.PartitionMaxBytes != 0 && filled.PartitionMaxBytes < minPartitionBytes, "-partition-max-bytes is %s, neither 0 nor at least 16MiB", filled.PartitionMaxBytes.String())
	fault(filled.DrainTimeout < 0, "-worker-drain-timeout is %s, under 0", filled.DrainTimeout)
	fault(filled.HaltAfter < 0, "-halt-after is %s, under 0", filled.HaltAfter)
	fault(filled.LeaveTimeout < 0, "-leave-timeout is %s, under 0", filled.LeaveTimeout)
	fault(filled.PartitionMaxBytes > filled.SnapshotMaxBytes, "-partition-max-bytes is %s, over -snapshot-max-bytes %s: a file between the two has no snapshot, so that its log would fill up",
		filled.PartitionMaxBytes.String(), filled.SnapshotMaxBytes.String())
	fault(filled.NoStandby && filled.DigestEvery != partition.DefaultDigestEvery, "-digest-every is given, and -standby 0 leaves nothing to compare")
	return errors.Join(faults...)
}

// Fit implements process.Fitting.
func (c *Config) Fit(with process.Config) error {
	most := config.Bytes(with.Deployment.TriggersMaxBytes / logParts)
	if c.SnapshotLogBytes != partition.DefaultSnapshotLogBytes && c.SnapshotLogBytes > most {
		return fmt.Errorf("-snapshot-log-bytes is %s, over an eighth of -triggers-max-bytes, %s", c.SnapshotLogBytes.String(), most.String())
	}
	return nil
}

// Check implements config.Checker. Zeros that somebody typed are faults here alone: a Config that is not loaded has them for the defaults.
func (c *Config) Check() error {
	zeros := config.NotZero(map[string]any{
		"checkpoint-every": c.CheckpointEvery, "checkpoint-users": c.CheckpointUsers, "overlay-bytes": c.OverlayBytes, "cache-bytes": c.CacheBytes,
		"emit-every": c.EmitEvery, "digest-every": c.DigestEvery, "worker-drain-timeout": c.DrainTimeout, "snapshot-every": c.SnapshotEvery,
		"snapshot-log-bytes": c.SnapshotLogBytes, "snapshot-rate": c.SnapshotRate, "snapshot-share": c.SnapshotShare, "snapshot-max-bytes": c.SnapshotMaxBytes,
		"restore-spares": c.RestoreSpares, "halt-after": c.HaltAfter, "leave-timeout": c.LeaveTimeout,
	})
	if c.DataDir == "" {
		return zeros
	}
	return errors.Join(zeros, config.Directory("data-dir", c.lowestHome()))
}
