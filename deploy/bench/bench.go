// Package bench compares triggerd with the least that a server of its kind could do, on the machine at hand: an empty Echo handler that answers the
// same bytes, and a handler that stores each request as one synced JetStream message.
//
// # Usage
//
//	table, err := bench.Compare(ctx, cfg, os.Stderr)
//	table.Print(os.Stdout)
//
// It also measures, by itself, what numbers of partitions and users cost: Growth.
//
// # How it measures
//
// Servers and load generator share the processors; each server is a process of its own, with a fresh directory, so that what the generator keeps in
// memory and collects is not counted. (Growth and Fairness have all in one process.) The variants run one after the other, in rounds, and each round begins
// at another one, so that a machine that gets slower or busier meanwhile is unfair to none. Ratios are taken within a round; the table shows their medians.
//
// # Why it is apart
//
// It brings an Echo handler and a nats-server of its own along, which no other package but httpapi and standalone may: what is compared must
// owe nothing to what it is compared with.
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/triggerd/triggerd/deploy/loadgen"
)

// Defaults of Config.
const (
	DefaultRounds   = 3
	DefaultDuration = 5 * time.Second
	DefaultWarmUp   = time.Second
	DefaultUsers    = 20_000
	benchTimeout    = 10 * time.Second // of one request
	maxRounds       = 1000
)

// Config is what to compare, and under which load.
type Config struct {
	Rounds      int
	Duration    time.Duration // of each measurement
	WarmUp      time.Duration // before each, not counted
	Connections int
	Users       int
	Vars        int
	ValueBytes  int
	Partitions  Counts
	Dir         string // on the disk that is to be measured
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.IntVar(&c.Rounds, "rounds", DefaultRounds, "of all variants")
	fs.DurationVar(&c.Duration, "duration", DefaultDuration, "of each measurement")
	fs.DurationVar(&c.WarmUp, "warm-up", DefaultWarmUp, "before each measurement, not counted")
	fs.IntVar(&c.Connections, "connections", loadgen.DefaultConnections, "each with one request at a time")
	fs.IntVar(&c.Users, "users", DefaultUsers, "of each variant")
	fs.IntVar(&c.Vars, "vars", 0, "more `variables` in each trigger, beside its number")
	fs.IntVar(&c.ValueBytes, "value-bytes", loadgen.DefaultValueBytes, "`bytes` of each of -vars")
	c.Partitions = Counts{1, 2, 4, 8}
	fs.Var(&c.Partitions, "partitions", "`counts` to compare, separated by commas")
	fs.StringVar(&c.Dir, "dir", os.TempDir(), "`directory` on the disk that is to be measured")
}

// faults are what is wrong with a configuration.
type faults []error

func (f *faults) add(bad bool, format string, args ...any) {
	if bad {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var f faults
	f.add(c.Rounds < 1 || c.Rounds > maxRounds, "-rounds is %d, not within 1 and %d", c.Rounds, maxRounds)
	f.add(c.Duration <= 0, "-duration is %v, not over 0", c.Duration)
	f.add(c.WarmUp <= 0, "-warm-up is %v, not over 0", c.WarmUp)
	f.add(c.Connections < 1, "-connections is %d, under 1", c.Connections)
	f.add(c.Users < c.Connections, "-users is %d, fewer than %d connections", c.Users, c.Connections)
	f.add(c.Vars < 0 || c.ValueBytes < 0, "-vars and -value-bytes are %d and %d, under 0", c.Vars, c.ValueBytes)
	return errors.Join(f...)
}

// Counts is a list of numbers of partitions. It is a flag.Value.
type Counts []int

// Set reads numbers separated by commas.
func (c *Counts) Set(text string) error {
	*c = nil
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return fmt.Errorf("not a list of numbers like 1,2,4")
		}
		*c = append(*c, n)
	}
	return nil
}

func (c *Counts) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*c)), " ", ","), "[]")
}

// PrintComparison runs all variants and writes the table. Progress goes to the standard error.
func PrintComparison(ctx context.Context, cfg Config, w io.Writer) error {
	table, err := Compare(ctx, cfg, os.Stderr)
	if err == nil {
		table.Print(w)
	}
	return err
}

// Compare runs all variants. progress gets a line for each measurement.
func Compare(ctx context.Context, cfg Config, progress io.Writer) (*Table, error) {
	conditions, err := observe(cfg)
	if err != nil {
		return nil, err
	}
	variants := variants(cfg.Partitions)
	table := &Table{Conditions: conditions, rows: make([]row, len(variants))}
	for i, v := range variants {
		table.rows[i].name = v.name
	}
	for round := range cfg.Rounds {
		for k := range variants {
			i := (k + round) % len(variants)
			m, err := measure(ctx, cfg, variants[i])
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", variants[i].name, err)
			}
			fmt.Fprintf(progress, "round %d of %d  %-44s %8.0f/s\n", round+1, cfg.Rounds, variants[i].name, m.rate)
			table.rows[i].add(m)
		}
	}
	return table, nil
}

// measurement is one variant in one round.
type measurement struct {
	rate     float64 // accepted a second
	p50, p99 time.Duration
	refused  uint64
}

func measure(ctx context.Context, cfg Config, v variant) (m measurement, err error) {
	err = apart(ctx, cfg.Dir, v.serve, func(s *child) error {
		load := loadgen.Config{URL: "http://" + s.Addr, Token: s.Token, Users: cfg.Users, Connections: cfg.Connections,
			Vars: cfg.Vars, ValueBytes: cfg.ValueBytes, Timeout: benchTimeout, Quiet: true, Duration: cfg.WarmUp}
		prepare := func() (*loadgen.Session, error) { return loadgen.Prepare(ctx, load) }
		if v.baseline {
			prepare = func() (*loadgen.Session, error) { return loadgen.Baseline(load) }
		}
		if err := warmUp(ctx, prepare); err != nil {
			return err
		}
		load.Duration = cfg.Duration
		session, err := prepare()
		if err != nil {
			return err
		}
		session.Drive(ctx)
		m = read(session.Report())
		return ctx.Err()
	})
	return m, err
}

// warmUp has users of its own: each session begins with fresh ones.
func warmUp(ctx context.Context, prepare func() (*loadgen.Session, error)) error {
	session, err := prepare()
	if err == nil {
		session.Drive(ctx)
	}
	return err
}

func read(r *loadgen.Report) measurement {
	m := measurement{rate: r.Rate(), refused: r.Unknown,
		p50: time.Duration(r.Latency.ValueAtQuantile(50)) * time.Microsecond,
		p99: time.Duration(r.Latency.ValueAtQuantile(99)) * time.Microsecond}
	for _, n := range r.Refused {
		m.refused += n
	}
	return m
}
