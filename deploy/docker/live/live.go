// Package live runs docker-compose.yml for real: it brings everything up, puts load on it, scales it, kills containers, cuts some off, takes all down and up
// again, and audits what was promised. It is what `make compose-test` does.
//
// # Usage
//
//	err := live.Run(ctx, live.Config{Dir: root}, os.Stdout)
//
// # What it needs
//
// A Docker daemon and a tool for compose files (`docker compose`, else docker-compose): without them Run fails and says so. Public images that are
// neither there nor can be pulled are replaced by stand-ins (deploy/docker/standins), and Run says which those are: what was tested is then not the
// image that others get. It works in a project of its own ([Project]), which it removes first and last, with its volumes and images, and publishes free ports.
//
// # Failure
//
// The first thing that is not as it should be ends the run. Every wait is bounded by Config.Patience, everything together by the context. The error says
// what was waited for; the ends of all logs come before it.
//
// It was seen to fail when the proxy may send again what got no answer (retry-on all-retryable-errors): "doubled … 4 triggers were accepted, the state counts 5", for
// many users, after an ingress was killed six times at 300 triggers a second. And when brokers are asked with js-server-only: one that is cut off stays healthy.
package live

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// Project is the name of the compose project, and so the beginning of the names of all that it makes.
const Project = "triggerd-compose-test"

// Defaults of Config.
const (
	DefaultLimit    = 45 * time.Minute
	DefaultPatience = 4 * time.Minute
	DefaultRate     = 100
)

// cleanTime is for taking down what is there, also after the run's own time was over.
const cleanTime = 3 * time.Minute

// Config is how to run it.
type Config struct {
	Dir      string        // with docker-compose.yml
	Limit    time.Duration // for everything
	Patience time.Duration // for one wait
	Rate     float64       // triggers a second
	Keep     bool          // what was made, to look at
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Dir, "dir", ".", "`directory` with docker-compose.yml")
	fs.DurationVar(&c.Limit, "limit", DefaultLimit, "longest `time` for everything, building included")
	fs.DurationVar(&c.Patience, "patience", DefaultPatience, "longest `time` to wait for one thing")
	fs.Float64Var(&c.Rate, "rate", DefaultRate, "triggers a `second`")
	fs.BoolVar(&c.Keep, "keep", false, "leave everything running, to look at")
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	if c.Limit <= 0 || c.Patience <= 0 {
		faults = append(faults, errors.New("-limit and -patience: not over 0"))
	}
	if c.Rate <= 0 {
		faults = append(faults, errors.New("-rate is not over 0"))
	}
	return errors.Join(faults...)
}

// Run does all of it, and says what it does.
func Run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Limit)
	defer cancel()
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return err
	}
	d := &docker{dir: dir, patience: cfg.Patience, out: out, begun: time.Now()}
	if err := d.find(ctx); err != nil {
		return err
	}
	if err := d.clean(ctx); err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		if err != nil {
			d.showLogs(bounded)
		}
		if !cfg.Keep {
			err = errors.Join(err, d.clean(bounded))
		}
	}()
	t := &trial{docker: d, rate: cfg.Rate}
	for _, step := range t.steps() {
		d.say("%s", step.does)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.does, err)
		}
	}
	d.say("all good")
	return nil
}
