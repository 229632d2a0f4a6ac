package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/triggerd/triggerd/deploy/loadgen"
)

// Defaults of ClaimsConfig.
const (
	DefaultClaimsUsers    = 100_000
	DefaultClaimsFor      = time.Minute
	DefaultClaimsWarmUp   = 10 * time.Second // each of the users has a trigger by then, and the ingress knows it
	claimsPartitions      = 2                // as a deployment has by default
	claimsSteady          = loadgen.DefaultConnections
	claimsShare           = 0.5 // of the most: the load at which a server should run
	shortestFor           = 100 * time.Millisecond
	claimsPartitionsLimit = 1024
)

// ClaimsConfig is how long to measure what is claimed, and with how much.
type ClaimsConfig struct {
	Rounds      int
	Duration    time.Duration // of each measurement of a round
	For         time.Duration // of the sustained load
	WarmUp      time.Duration // before each, not counted
	Connections Counts
	Users       int
	Vars        int
	ValueBytes  int
	Partitions  int
	Dir         string // on the disk that is to be measured
}

// RegisterFlags adds the flags and sets the defaults.
func (c *ClaimsConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.IntVar(&c.Rounds, "rounds", DefaultRounds, "of all variants with all numbers of connections")
	fs.DurationVar(&c.Duration, "duration", DefaultDuration, "of each measurement of a round")
	fs.DurationVar(&c.For, "for", DefaultClaimsFor, "of the sustained load, after the rounds")
	fs.DurationVar(&c.WarmUp, "warm-up", DefaultClaimsWarmUp, "before each measurement, not counted; of triggerd with the same users")
	c.Connections = Counts{64, 256, 1024}
	fs.Var(&c.Connections, "connections", "`counts` to measure, separated by commas; each connection has one request at a time")
	fs.IntVar(&c.Users, "users", DefaultClaimsUsers, "of each measurement")
	fs.IntVar(&c.Vars, "vars", 0, "more `variables` in each trigger, beside its number")
	fs.IntVar(&c.ValueBytes, "value-bytes", loadgen.DefaultValueBytes, "`bytes` of each of -vars")
	fs.IntVar(&c.Partitions, "partitions", claimsPartitions, "`number` of partitions")
	fs.StringVar(&c.Dir, "dir", os.TempDir(), "`directory` on the disk that is to be measured")
}

// Validate joins all faults.
func (c *ClaimsConfig) Validate() error {
	var f faults
	f.add(c.Rounds < 1 || c.Rounds > maxRounds, "-rounds is %d, not within 1 and %d", c.Rounds, maxRounds)
	f.add(c.Duration <= 0, "-duration is %v, not over 0", c.Duration)
	f.add(c.For < shortestFor, "-for is %v, under %v", c.For, shortestFor)
	f.add(c.WarmUp <= 0, "-warm-up is %v, not over 0", c.WarmUp)
	f.add(c.Partitions < 1 || c.Partitions > claimsPartitionsLimit, "-partitions is %d, not within 1 and %d", c.Partitions, claimsPartitionsLimit)
	for _, n := range append(Counts{c.steady()}, c.Connections...) {
		f.add(c.Users < n, "-users is %d, fewer than %d connections", c.Users, n)
	}
	f.add(c.Vars < 0 || c.ValueBytes < 0, "-vars and -value-bytes are %d and %d, under 0", c.Vars, c.ValueBytes)
	return errors.Join(f...)
}

// steady is with how many connections the sustained load is.
func (c *ClaimsConfig) steady() int {
	for _, n := range c.Connections {
		if n == claimsSteady {
			return n
		}
	}
	if len(c.Connections) > 0 {
		return c.Connections[len(c.Connections)-1]
	}
	return claimsSteady
}

// comparison is the configuration of one measurement of what is compared with.
func (c *ClaimsConfig) comparison(connections int) Config {
	return Config{Rounds: 1, Duration: c.Duration, WarmUp: c.WarmUp, Connections: connections, Users: c.Users, Vars: c.Vars, ValueBytes: c.ValueBytes, Dir: c.Dir}
}

// claim is what one round showed with one number of connections.
type claim struct {
	echo, jetStream float64 // answers a second
	accepted        float64 // a second
	half            float64 // a second, as asked for
	p50, p99        time.Duration
	readable        time.Duration // p99
	allocs, bytes   float64       // of the server, by accepted trigger
	refused         uint64
	missed          uint64 // at half the rate
	lost, doubled   uint64
	broken          int
}

// PrintClaims measures all that is claimed of the speed, and writes it as one table. Progress goes to the standard error.
func PrintClaims(ctx context.Context, cfg ClaimsConfig, w io.Writer) error {
	table, err := Claims(ctx, cfg, os.Stderr)
	if err != nil {
		return err
	}
	table.Print(w)
	if table.broken() > 0 {
		return loadgen.ErrBroken
	}
	return nil
}

// Claims measures in rounds: within each, and for each number of connections, what is compared with and triggerd, so that a machine that gets slower or
// busier meanwhile is unfair to none. Which number of connections, and which server, comes first changes from round to round.
func Claims(ctx context.Context, cfg ClaimsConfig, progress io.Writer) (*ClaimsTable, error) {
	conditions, err := machine(cfg.Dir, cfg.Duration)
	if err != nil {
		return nil, err
	}
	table := &ClaimsTable{cfg: cfg, conditions: conditions, rows: make([][]claim, len(cfg.Connections))}
	for round := range cfg.Rounds {
		for k := range cfg.Connections {
			i := (k + round) % len(cfg.Connections)
			c, err := measureClaim(ctx, &cfg, cfg.Connections[i], round)
			if err != nil {
				return nil, fmt.Errorf("measure %d connections: %w", cfg.Connections[i], err)
			}
			table.rows[i] = append(table.rows[i], c)
			fmt.Fprintf(progress, "round %d of %d  %4d connections  echo %.0f/s  jetstream %.0f/s  triggerd %.0f/s  p99 %s at half of that\n",
				round+1, cfg.Rounds, cfg.Connections[i], c.echo, c.jetStream, c.accepted, c.p99)
		}
	}
	fmt.Fprintf(progress, "sustained load for %s\n", cfg.For)
	err = apart(ctx, cfg.Dir, cfg.whole(), func(s *child) error { return table.sustain(ctx, s) })
	return table, err
}

// measureClaim measures the three servers, one after the other, in an order that changes.
func measureClaim(ctx context.Context, cfg *ClaimsConfig, connections, round int) (c claim, err error) {
	baseline := func(v variant, rate *float64) func() error {
		return func() error {
			m, err := measure(ctx, cfg.comparison(connections), v)
			*rate = m.rate
			return err
		}
	}
	against := variants(nil)
	steps := []func() error{
		baseline(against[echoRow], &c.echo), baseline(against[jetStreamRow], &c.jetStream),
		func() error {
			return apart(ctx, cfg.Dir, cfg.whole(), func(s *child) error { return c.triggerd(ctx, cfg, s, connections) })
		},
	}
	for i := range steps {
		if err := steps[(i+round)%len(steps)](); err != nil {
			return c, err
		}
	}
	return c, ctx.Err()
}

// whole is triggerd as a deployment has it.
func (c *ClaimsConfig) whole() ServeConfig {
	return ServeConfig{Server: whole, Partitions: c.Partitions, Applying: true}
}

// load is one of triggerd.
func (c *ClaimsConfig) load(s *child, connections int, duration time.Duration) loadgen.Config {
	return loadgen.Config{URL: "http://" + s.Addr, Token: s.Token, Users: c.Users, Connections: connections, Vars: c.Vars, ValueBytes: c.ValueBytes,
		Timeout: benchTimeout, Duration: duration, Quiet: true}
}

// triggerd measures the most it accepts, and how it answers at half of that.
func (c *claim) triggerd(ctx context.Context, cfg *ClaimsConfig, s *child, connections int) error {
	var before, after look
	var askErr [2]error
	r, err := cfg.audited(ctx, cfg.load(s, connections, cfg.Duration), func() { before, askErr[0] = s.ask(askLook) }, func() { after, askErr[1] = s.ask(askLook) })
	if err = errors.Join(err, askErr[0], askErr[1]); err != nil {
		return err
	}
	c.note(r)
	n := max(1, float64(r.Accepted))
	c.accepted, c.refused = r.Rate(), read(r).refused
	c.allocs, c.bytes = float64(after.Mallocs-before.Mallocs)/n, float64(after.Bytes-before.Bytes)/n
	return c.atHalf(ctx, cfg, s, connections)
}

// atHalf is an open loop of half of what is accepted at most, while somebody reads back.
func (c *claim) atHalf(ctx context.Context, cfg *ClaimsConfig, s *child, connections int) error {
	c.half = c.accepted * claimsShare
	load := cfg.load(s, connections, cfg.Duration)
	load.Rate = c.half
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var reader sync.WaitGroup
	var readErr error
	r, err := cfg.audited(ctx, load, func() {
		reader.Go(func() {
			seen, err := loadgen.Readback(reading, load)
			if readErr = err; err == nil {
				c.readable = time.Duration(seen.ValueAtQuantile(99)) * time.Microsecond
			}
		})
	}, func() {
		stop()
		reader.Wait()
	})
	if err = errors.Join(err, readErr); err != nil {
		return err
	}
	m := read(r)
	c.p50, c.p99, c.missed = m.p50, m.p99, r.Missed
	c.note(r)
	return nil
}

// note adds what an audit found.
func (c *claim) note(r *loadgen.Report) {
	c.lost += r.Lost()
	c.doubled += r.Doubled()
	c.broken += len(r.Broken)
}

// audited drives, after a warm-up with the same users, and audits all of it; before and after are called at the beginning and at the end of what is measured.
func (c *ClaimsConfig) audited(ctx context.Context, load loadgen.Config, before, after func()) (*loadgen.Report, error) {
	session, err := loadgen.Prepare(ctx, load)
	if err != nil {
		return nil, err
	}
	warming, cancel := context.WithTimeout(ctx, c.WarmUp)
	defer cancel()
	session.Drive(warming)
	session.Forget()
	before()
	session.Drive(ctx)
	after()
	if err := session.Audit(ctx); err != nil {
		return nil, err
	}
	return session.Report(), ctx.Err()
}
