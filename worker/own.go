package worker

import (
	"errors"
	"flag"
)

// OwnConfig is what a worker in a process of its own can be told: its Config, and where its files are, which in standalone is the program's to say.
type OwnConfig struct{ Config }

// RegisterFlags adds the flags and sets their defaults.
func (c *OwnConfig) RegisterFlags(fs *flag.FlagSet) {
	c.Config.RegisterFlags(fs)
	fs.StringVar(&c.DataDir, "data-dir", ".data", "`directory` of the partitions' files")
	fs.IntVar(&c.DataHomes, "data-homes", 0, "`number` of directories below -data-dir, of which this worker takes the first that no other has, so that all may be given the same -data-dir; 0: it has -data-dir for itself")
}

// Validate joins all faults.
func (c *OwnConfig) Validate() error {
	var empty error
	if c.DataDir == "" {
		empty = errors.New("-data-dir is empty")
	}
	return errors.Join(empty, c.Config.Validate())
}
