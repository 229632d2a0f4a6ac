package process

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/telemetry"
	"github.com/triggerd/triggerd/shared/tracing"
)

// Defaults of Config.
const (
	DefaultAdminAddr  = "127.0.0.1:9090"
	DefaultPartitions = 2

	DefaultWatchdogAfter = time.Minute
)

// minWatchdogAfter is well over the second in which a loop turns that only waits.
const minWatchdogAfter = 3 * time.Second

// Config is what every process can be told.
type Config struct {
	AdminAddr     string // never a public one: there are profiles
	Log           telemetry.LogConfig
	WatchdogAfter time.Duration // a loop that does not turn for longer is hung; 0 = none is judged
	Tracing       tracing.Config
	Deployment    Deployment
	Told          config.Effective // by Load; empty if nothing was loaded
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.AdminAddr, "admin-addr", DefaultAdminAddr, "`address` of metrics, readiness and profiles; port 0 takes a free one")
	c.Log.RegisterFlags(fs)
	fs.DurationVar(&c.WatchdogAfter, "watchdog-after", DefaultWatchdogAfter, "`time` for which a loop of this process may do nothing at all: then it is hung, /livez says so, and systemd is given no sign of life; 0 judges none")
	c.Tracing.RegisterFlags(fs)
	c.Deployment.RegisterFlags(fs)
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var fault error
	if c.WatchdogAfter != 0 && c.WatchdogAfter < minWatchdogAfter {
		fault = fmt.Errorf("-watchdog-after is %s, neither 0 nor at least %s", c.WatchdogAfter, minWatchdogAfter)
	}
	return errors.Join(config.Address("admin-addr", c.AdminAddr), c.Log.Validate(), fault, c.Tracing.Validate(), c.Deployment.Validate())
}

// Check implements config.Checker.
func (c *Config) Check() error { return errors.Join(c.Tracing.Check(), c.Deployment.Check()) }

// Learn implements config.Learner: Run writes to the log what was said.
func (c *Config) Learn(told config.Effective) { c.Told = told }

// Deployment is what all processes of a deployment must agree on. Streams are made from it once; who comes later with other values
// is refused (the number of partitions) or warned. The limits are the first record of every log and are not changed by
// starting a process with others, but by `worker configure`.
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
	RegisterLimits(fs, &d.Limits)
}

// Validate joins all faults.
func (d *Deployment) Validate() error {
	return errors.Join(d.Settings.Validate(), ValidateLimits(d.Limits))
}

// Check finds zeros that somebody typed: a program that is not loaded leaves fields empty to have their defaults.
func (d *Deployment) Check() error {
	return config.NotZero(map[string]any{"replicas": d.Replicas, "triggers-max-bytes": d.TriggersMaxBytes, "events-max-bytes": d.EventsMaxBytes,
		"snapshots-max-bytes": d.SnapshotsMaxBytes, "duplicate-window": d.DuplicateWindow, "member-ttl": d.MemberTTL})
}

func size(fs *flag.FlagSet, v *int64, name string, value int64, usage string) {
	*v = value
	fs.Var((*config.Bytes)(v), name, usage)
}
