package standalone

import (
	"errors"
	"flag"
	"net"
	"path/filepath"

	"github.com/triggerd/triggerd/ingress"
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
	if c.DataDir == "" {
		faults = append(faults, errors.New("-data-dir is empty"))
	}
	if c.NATSAddr != "" {
		if _, err := net.ResolveTCPAddr("tcp", c.NATSAddr); err != nil {
			faults = append(faults, errors.New("-nats-addr is not an address like 127.0.0.1:4222"))
		}
	}
	if c.Process.Deployment.Replicas > 1 {
		faults = append(faults, errors.New("-replicas is over 1: standalone has one broker"))
	}
	in, w := c.ingress(), c.worker()
	return errors.Join(append(faults, c.Process.Validate(), in.Validate(), w.Validate())...)
}

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
