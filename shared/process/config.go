package process

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Defaults of Config.
const (
	DefaultAdminAddr    = "127.0.0.1:9090"
	DefaultPartitions   = 2
	DefaultMachine      = 1
	DefaultMaxUserBytes = 512 << 10
	DefaultMaxPending   = 1000
	DefaultOutcomesKeep = time.Hour
	DefaultMaxKeys      = 1_000_000
	DefaultKeysKeep     = 24 * time.Hour
)

// Config is what every process can be told.
type Config struct {
	AdminAddr  string // never a public one: there are profiles
	Log        telemetry.LogConfig
	Deployment Deployment
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.AdminAddr, "admin-addr", DefaultAdminAddr, "`address` of metrics, readiness and profiles; port 0 takes a free one")
	c.Log.RegisterFlags(fs)
	c.Deployment.RegisterFlags(fs)
}

// Validate joins all faults.
func (c *Config) Validate() error {
	return errors.Join(c.Log.Validate(), c.Deployment.Validate())
}

// Deployment is what all processes of a deployment must agree on. Streams are made from it once; who comes later with other values
// is refused (the number of partitions) or warned. The limits are the first record of every log and cannot be changed by
// starting a process with others.
type Deployment struct {
	broker.Settings
}

// RegisterFlags adds the flags and sets the defaults.
func (d *Deployment) RegisterFlags(fs *flag.FlagSet) {
	fs.IntVar(&d.Partitions, "partitions", DefaultPartitions, "`number` of partitions; fixed for the life of the data")
	fs.IntVar(&d.Replicas, "replicas", 1, "`copies` of every stream: 1, 3 or 5")
	size(fs, &d.TriggersMaxBytes, "triggers-max-bytes", broker.DefaultTriggersMaxBytes, "`size` of a partition's log; a full one refuses")
	size(fs, &d.EventsMaxBytes, "events-max-bytes", broker.DefaultEventsMaxBytes, "`size` of a partition's events; a full one drops the oldest")
	size(fs, &d.SnapshotsMaxBytes, "snapshots-max-bytes", broker.DefaultSnapshotsMaxBytes, "`size` of all partitions' snapshots together; a full store refuses new ones")
	fs.DurationVar(&d.DuplicateWindow, "duplicate-window", broker.DefaultDuplicateWindow, "how long the broker itself knows a repeated batch")
	fs.DurationVar(&d.MemberTTL, "member-ttl", broker.DefaultMemberTTL, "after what `time` without a sign a worker's partitions are taken over, and an ingress does not count any more (new deployments only)")
	d.Limits.Machine = DefaultMachine
	size(fs, &d.Limits.MaxUserBytes, "max-user-bytes", DefaultMaxUserBytes, "`size` of one user's variables (new deployments only)")
	fs.IntVar(&d.Limits.MaxPending, "max-pending", DefaultMaxPending, "delayed redirects that one user may have outstanding (new deployments only)")
	d.Limits.OutcomesKeep = DefaultOutcomesKeep.Milliseconds()
	fs.Var((*milliseconds)(&d.Limits.OutcomesKeep), "outcomes-keep", "how `long` what became of a trigger can be asked for (new deployments only)")
	fs.Int64Var(&d.Limits.MaxKeys, "max-keys", DefaultMaxKeys, "idempotency `keys` that a partition remembers at once; new ones are refused when it is full (new deployments only)")
	d.Limits.KeysKeep = DefaultKeysKeep.Milliseconds()
	fs.Var((*milliseconds)(&d.Limits.KeysKeep), "keys-keep", "how `long` an idempotency key is remembered (new deployments only)")
}

// Validate joins all faults.
func (d *Deployment) Validate() error {
	faults := []error{d.Settings.Validate()}
	positive := func(name string, v int64) {
		if v < 1 {
			faults = append(faults, fmt.Errorf("-%s is %d, under 1", name, v))
		}
	}
	positive("max-user-bytes", d.Limits.MaxUserBytes)
	positive("max-pending", int64(d.Limits.MaxPending))
	positive("outcomes-keep", d.Limits.OutcomesKeep)
	positive("keys-keep", d.Limits.KeysKeep)
	if keys := d.Limits.MaxKeys; keys < 0 || keys > math.MaxInt32 {
		faults = append(faults, fmt.Errorf("-max-keys is %d, not within 0 and %d", keys, math.MaxInt32))
	}
	return errors.Join(faults...)
}

func size(fs *flag.FlagSet, v *int64, name string, value int64, usage string) {
	*v = value
	fs.Var((*config.Bytes)(v), name, usage)
}

// milliseconds is a duration as a setting, kept as the log has it. It is a flag.Value.
type milliseconds int64

func (m *milliseconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("not a duration like 1h or 90s")
	}
	if d%time.Millisecond != 0 {
		return fmt.Errorf("finer than a millisecond")
	}
	*m = milliseconds(d.Milliseconds())
	return nil
}

func (m *milliseconds) String() string {
	if m == nil {
		return "0s"
	}
	return (time.Duration(*m) * time.Millisecond).String()
}
