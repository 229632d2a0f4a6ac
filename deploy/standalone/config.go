package standalone

import (
	"errors"
	"flag"
	"path/filepath"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/worker"
)

// DefaultDataDir is where standalone keeps everything, relative to where it is started.
const DefaultDataDir = ".data"

// Config is what standalone can be told: what its parts can be told, and a little of its own.
type Config struct {
	Process process.Config
	Ingress ingress.Config // KeysFile and KeysURL may be empty: standalone's own
	Worker  worker.Config  // DataDir is standalone's own

	DataDir  string
	NATSAddr string // where the broker listens; empty = nowhere
	Demo     bool   // declare an account to play with
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Process.RegisterFlags(fs)
	c.Ingress.RegisterFlags(fs)
	c.Worker.RegisterFlags(fs)
	fs.StringVar(&c.DataDir, "data-dir", DefaultDataDir, "`directory` that holds everything; one process at a time")
	fs.StringVar(&c.NATSAddr, "nats-addr", "", "`address` on which the broker listens, for the nats CLI; without authentication, so keep it local; empty is nowhere")
	fs.BoolVar(&c.Demo, "demo", false, "declare the account demo and print what to try")
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	fault := func(wrong bool, what string) {
		if wrong {
			faults = append(faults, errors.New(what))
		}
	}
	fault(c.DataDir == "", "-data-dir is empty")
	fault(c.Process.Deployment.Replicas > 1, "-replicas is over 1: standalone has one broker")
	if c.NATSAddr != "" {
		faults = append(faults, config.Address("nats-addr", c.NATSAddr))
		fault(config.SamePort(c.NATSAddr, c.Ingress.HTTPAddr), "-nats-addr and -http-addr are one port")
		fault(config.SamePort(c.NATSAddr, c.Process.AdminAddr), "-nats-addr and -admin-addr are one port")
	}
	if c.Demo {
		fault(c.Ingress.KeysFile != "", "-demo and -keys-file: the demo's tokens are signed by standalone's own key, which is not in it")
		fault(c.Ingress.KeysURL != "", "-demo and -keys-url: the demo's tokens are signed by standalone's own key, which is not there")
		fault(c.Ingress.TokenIssuer != "", "-demo and -token-issuer: the demo's tokens have none")
		fault(c.Ingress.TokenAudience != ingress.DefaultAudience, "-demo and -token-audience: the demo's tokens are for "+ingress.DefaultAudience)
	}
	in, w := c.ingress(), c.worker()
	return errors.Join(append(faults, c.Process.Validate(), in.Validate(), w.Validate(), in.Fit(c.Process), w.Fit(c.Process))...)
}

// Check implements config.Checker. Standalone's own keys are made by a start, and are not there before the first one.
func (c *Config) Check() error {
	w := c.worker()
	return errors.Join(c.Process.Check(), c.Ingress.Check(), w.Check())
}

// Learn implements config.Learner.
func (c *Config) Learn(told config.Effective) { c.Process.Learn(told) }

func (c *Config) ingress() ingress.Config {
	in := c.Ingress
	if in.KeysFile == "" && in.KeysURL == "" {
		in.KeysFile = ingress.KeysIn(c.keysDir()).Public
	}
	return in
}

func (c *Config) worker() worker.Config {
	w := c.Worker
	w.DataDir = c.DataDir
	return w
}

func (c *Config) keysDir() string { return filepath.Join(c.DataDir, "keys") }
func (c *Config) natsDir() string { return filepath.Join(c.DataDir, "nats") }
