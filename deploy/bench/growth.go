package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/triggerd/triggerd/deploy/loadgen"
)

// GrowthConfig is with how many partitions and users to measure.
type GrowthConfig struct {
	Partitions  Counts
	Users       Counts
	Duration    time.Duration // of each load
	Connections int
	Dir         string // on the disk that is to be measured
}

// RegisterFlags adds the flags and sets the defaults.
func (c *GrowthConfig) RegisterFlags(fs *flag.FlagSet) {
	c.Partitions, c.Users = Counts{1, 4, 8, 16, 64}, Counts{10_000, 100_000, 1_000_000}
	fs.Var(&c.Partitions, "partitions", "`counts` to measure, separated by commas")
	fs.Var(&c.Users, "users", "`counts` to measure, separated by commas; each with each number of partitions")
	fs.DurationVar(&c.Duration, "duration", DefaultDuration, "of each load")
	fs.IntVar(&c.Connections, "connections", loadgen.DefaultConnections, "each with one request at a time")
	fs.StringVar(&c.Dir, "dir", os.TempDir(), "`directory` on the disk that is to be measured")
}

// Validate joins all faults.
func (c *GrowthConfig) Validate() error {
	var faults []error
	if c.Duration <= 0 {
		faults = append(faults, fmt.Errorf("-duration is %v, not over 0", c.Duration))
	}
	if c.Connections < 1 {
		faults = append(faults, fmt.Errorf("-connections is %d, under 1", c.Connections))
	}
	for _, n := range c.Users {
		if n < c.Connections {
			faults = append(faults, fmt.Errorf("-users has %d, fewer than %d connections", n, c.Connections))
		}
	}
	return errors.Join(faults...)
}

// Growth measures every number of partitions with every number of users, each in a fresh directory, and writes a line for each as soon as it is there:
// the largest take minutes.
func Growth(ctx context.Context, cfg GrowthConfig, w io.Writer) error {
	conditions, err := machine(cfg.Dir, cfg.Duration)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s\n%d connections, closed loops of %s\n\n%s\n",
		conditions, cfg.Connections, cfg.Duration, growthHeader())
	for _, users := range cfg.Users {
		for _, partitions := range cfg.Partitions {
			line, err := measureGrowth(ctx, cfg, partitions, users)
			if err != nil {
				return fmt.Errorf("measure %d partitions with %d users: %w", partitions, users, err)
			}
			fmt.Fprintln(w, line)
		}
	}
	return nil
}

func measureGrowth(ctx context.Context, cfg GrowthConfig, partitions, users int) (line *growth, err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "triggerd-growth-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d, err := deploy(ctx, dir, partitions)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	s := &stages{deployment: d, cfg: cfg, dir: dir, users: users, seen: growth{partitions: partitions, users: users}}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	return &s.seen, ctx.Err()
}
