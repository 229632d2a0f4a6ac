package process

import (
	"errors"
	"flag"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// Defaults of Config.
const (
	DefaultAdminAddr  = "127.0.0.1:9090"
	DefaultPartitions = 2
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

func size(fs *flag.FlagSet, v *int64, name string, value int64, usage string) {
	*v = value
	fs.Var((*config.Bytes)(v), name, usage)
}
