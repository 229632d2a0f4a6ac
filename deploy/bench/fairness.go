package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/ingress"
)

// FairnessConfig is who floods and who does not.
type FairnessConfig struct {
	Rounds           int
	Duration         time.Duration // of each measurement
	Partitions       int
	FloodConnections int
	FloodRate        float64 // of one that keeps to what the machine can take
	Burst            int     // at once, every second, of one that sends nothing between
	QuietRate        float64
	QuietConnections int
	RateLimit        float64 // of every account, where there is one
	Dir              string  // on the disk that is to be measured
}

// Defaults of FairnessConfig.
const (
	defaultQuietRate        = 100
	defaultQuietConnections = 8
	defaultFairnessTime     = 10 * time.Second
	defaultFairnessLimit    = 2000
	defaultFloodRate        = 10_000
	defaultFloodBurst       = 2000
	quietUsers              = 64
	floodUsers              = 20_000
	longBatches             = 16 // connections: as many batches as one account may have in hand
)

// RegisterFlags adds the flags and sets the defaults.
func (c *FairnessConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.IntVar(&c.Rounds, "rounds", DefaultRounds, "of all measurements")
	fs.DurationVar(&c.Duration, "duration", defaultFairnessTime, "of each measurement")
	fs.IntVar(&c.Partitions, "partitions", 2, "that both accounts share")
	fs.IntVar(&c.FloodConnections, "connections", loadgen.DefaultConnections, "of the account that floods, each with one request at a time")
	fs.Float64Var(&c.FloodRate, "flood-rate", defaultFloodRate, "triggers a `second`, where the flood keeps to a rate")
	fs.IntVar(&c.Burst, "burst", defaultFloodBurst, "`triggers` at once every second, where it comes in bursts")
	fs.Float64Var(&c.QuietRate, "quiet-rate", defaultQuietRate, "triggers a `second` of the quiet account, whether or not earlier ones were answered")
	fs.IntVar(&c.QuietConnections, "quiet-connections", defaultQuietConnections, "of the quiet account")
	fs.Float64Var(&c.RateLimit, "rate-limit", defaultFairnessLimit, "triggers a `second` of an account, in the measurements that have a limit")
	fs.StringVar(&c.Dir, "dir", os.TempDir(), "`directory` on the disk that is to be measured")
}

// Validate joins all faults.
func (c *FairnessConfig) Validate() error {
	var f faults
	f.add(c.Rounds < 1 || c.Rounds > maxRounds, "-rounds is %d, not within 1 and %d", c.Rounds, maxRounds)
	f.add(c.Duration <= 0, "-duration is %v, not over 0", c.Duration)
	f.add(c.Partitions < 1, "-partitions is %d, under 1", c.Partitions)
	f.add(c.FloodConnections < 1 || c.FloodConnections > floodUsers, "-connections is %d, not within 1 and %d", c.FloodConnections, floodUsers)
	f.add(c.FloodRate <= 0, "-flood-rate is %g, not over 0", c.FloodRate)
	f.add(c.Burst < 1, "-burst is %d, under 1", c.Burst)
	f.add(c.QuietRate <= 0, "-quiet-rate is %g, not over 0", c.QuietRate)
	f.add(c.QuietConnections < 1 || c.QuietConnections > quietUsers, "-quiet-connections is %d, not within 1 and %d", c.QuietConnections, quietUsers)
	f.add(c.RateLimit <= c.QuietRate, "-rate-limit is %g, not over -quiet-rate", c.RateLimit)
	return errors.Join(f...)
}

// neighbour is what the quiet account is measured beside.
type neighbour struct {
	name   string
	flood  func(FairnessConfig) loadgen.Config // nil: there is none
	limits func(FairnessConfig, *ingress.Limits)
	busy   bool // a loop computes on each processor, as another program would
}

// neighbours begin with none, to which the others are compared.
func neighbours() []neighbour {
	none := func(FairnessConfig, *ingress.Limits) {}
	all := func(FairnessConfig) loadgen.Config { return loadgen.Config{} }
	steady := func(c FairnessConfig) loadgen.Config { return loadgen.Config{Rate: c.FloodRate} }
	limited := func(c FairnessConfig, l *ingress.Limits) { l.Rate = c.RateLimit }
	return []neighbour{
		{"alone", nil, none, false},
		{"beside loops that only compute", nil, none, true},
		{"beside bursts", func(c FairnessConfig) loadgen.Config { return loadgen.Config{Burst: c.Burst, Every: time.Second} }, none, false},
		{"beside -flood-rate", steady, none, false},
		{"beside -flood-rate, -rate-limit", steady, limited, false},
		{"beside all that can be sent", all, none, false},
		{"the same, -rate-limit", all, limited, false},
		{"the same, -turns -1", all, func(_ FairnessConfig, l *ingress.Limits) { l.Turns = -1 }, false},
		{"beside batches of 8", func(FairnessConfig) loadgen.Config { return loadgen.Config{Batch: 8} }, none, false},
		{"beside batches of 64", func(FairnessConfig) loadgen.Config { return loadgen.Config{Batch: 64} }, none, false},
		{"beside batches of 1000", func(FairnessConfig) loadgen.Config { return loadgen.Config{Batch: 1000, Connections: longBatches} }, none, false},
	}
}

// fairness is a measurement in the making.
type fairness struct {
	cfg    FairnessConfig
	beside []neighbour
	quiet  [][]*hdrhistogram.Histogram // by neighbour and round
	lost   []uint64                    // triggers of the quiet account that were not accepted
	flood  []float64                   // accepted a second, summed over the rounds
}

// Fairness measures how long an account that sends a few triggers a second waits for its answers, alone and beside another one that sends as many as it can to
// the same partitions. All is measured in one run, in rounds, and the table shows ratios to being alone. Generators, broker, worker and ingress share one process and
// its processors, so the flood costs what it costs to make it, too. What the machine does to whoever shares its processors is measured beside that: loops that only compute.
func Fairness(ctx context.Context, cfg FairnessConfig, w io.Writer) error {
	conditions, err := machine(cfg.Dir, cfg.Duration)
	if err != nil {
		return err
	}
	f := &fairness{cfg: cfg, beside: neighbours()}
	f.quiet, f.lost, f.flood = make([][]*hdrhistogram.Histogram, len(f.beside)), make([]uint64, len(f.beside)), make([]float64, len(f.beside))
	for round := range cfg.Rounds {
		for k := range f.beside {
			i := (k + round) % len(f.beside)
			if err := f.measure(ctx, i); err != nil {
				return fmt.Errorf("measure %s: %w", f.beside[i].name, err)
			}
		}
	}
	fmt.Fprintf(w, "%s\nquiet: %g a second over %d connections; flood: %d connections; P = %d; %d rounds of %s; -flood-rate %g, -burst %d, -rate-limit %g; medians of the rounds\n\n",
		conditions, cfg.QuietRate, cfg.QuietConnections, cfg.FloodConnections, cfg.Partitions, cfg.Rounds, cfg.Duration, cfg.FloodRate, cfg.Burst, cfg.RateLimit)
	f.print(w)
	return nil
}

func (f *fairness) print(w io.Writer) {
	fmt.Fprintf(w, "%-36s %8s %9s %9s %8s %8s %12s %14s\n", "the quiet account", "answers", "p50", "p99", "× p50", "× p99", "not accepted", "flood accepted")
	for i, rounds := range f.quiet {
		answers := int64(0)
		for _, h := range rounds {
			answers += h.TotalCount()
		}
		p50, times50 := f.quantile(i, 50)
		p99, times99 := f.quantile(i, 99)
		fmt.Fprintf(w, "%-36s %8d %9s %9s %8.1f %8.1f %12d %12.0f/s\n", f.beside[i].name, answers, p50, p99, times50, times99, f.lost[i], f.flood[i]/float64(f.cfg.Rounds))
	}
}

// quantile is the median over the rounds, and that of the ratios to being alone in the same round: a disk that stands still for half a second spoils one round's.
func (f *fairness) quantile(i int, q float64) (median time.Duration, ratio float64) {
	var all, ratios []float64
	for round, h := range f.quiet[i] {
		v := float64(h.ValueAtQuantile(q))
		all, ratios = append(all, v), append(ratios, v/max(1, float64(f.quiet[0][round].ValueAtQuantile(q))))
	}
	return time.Duration(middle(all)) * time.Microsecond, middle(ratios)
}

func (f *fairness) measure(ctx context.Context, i int) (err error) {
	dir, err := os.MkdirTemp(f.cfg.Dir, "triggerd-fairness-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d, err := deployWith(ctx, dir, f.cfg.Partitions, func(s *settings) {
		f.beside[i].limits(f.cfg, &s.ingress.Limits)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	worker, err := d.startWorker(d.set.worker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, worker.stop()) }()
	return f.drive(ctx, d, filepath.Join(dir, "keys"), i)
}

// drive begins the flood before what is measured and ends it after that.
func (f *fairness) drive(ctx context.Context, d *deployment, keys string, i int) error {
	quiet, err := f.session(ctx, d, keys, "quiet", loadgen.Config{Users: quietUsers, Connections: f.cfg.QuietConnections, Rate: f.cfg.QuietRate, Duration: f.cfg.Duration})
	if err != nil {
		return err
	}
	var flood *loadgen.Session
	flooded := func() {}
	if f.beside[i].busy {
		if flooded, err = compute(ctx); err != nil {
			return err
		}
	}
	if shape := f.beside[i].flood; shape != nil {
		load := shape(f.cfg)
		load.Users, load.Duration = floodUsers, f.cfg.Duration+2*DefaultWarmUp
		if load.Connections == 0 {
			load.Connections = f.cfg.FloodConnections
		}
		if flood, err = f.session(ctx, d, keys, "flood", load); err != nil {
			return err
		}
		flooded = f.begin(ctx, flood)
	}
	quiet.Drive(ctx)
	flooded()
	report := quiet.Report()
	f.quiet[i] = append(f.quiet[i], report.Latency)
	f.lost[i] += report.Unknown
	for _, n := range report.Refused {
		f.lost[i] += n
	}
	if flood != nil {
		f.flood[i] += flood.Report().Rate()
	}
	return ctx.Err()
}

// compute keeps every processor busy with a program that does nothing else, until the returned function is called.
func compute(ctx context.Context) (end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var loops []*exec.Cmd
	end = func() {
		cancel()
		for _, loop := range loops {
			loop.Wait() // it was killed
		}
	}
	for range runtime.NumCPU() {
		loop := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			end()
			return nil, fmt.Errorf("start a loop: %w", err)
		}
		loops = append(loops, loop)
	}
	return end, nil
}

// begin drives a session in the background and returns when it has warmed up. The returned function waits for its end.
func (f *fairness) begin(ctx context.Context, s *loadgen.Session) (wait func()) {
	var driven sync.WaitGroup
	driven.Go(func() { s.Drive(ctx) })
	select {
	case <-time.After(DefaultWarmUp):
	case <-ctx.Done():
	}
	return driven.Wait
}

func (f *fairness) session(ctx context.Context, d *deployment, keys, account string, load loadgen.Config) (*loadgen.Session, error) {
	token, err := ingress.IssueToken(ingress.KeysIn(keys).Signing, account, "trigger runtime", tokenTTL)
	if err != nil {
		return nil, err
	}
	load.URL, load.Token, load.Timeout, load.Quiet = "http://"+d.addr, token, benchTimeout, true
	return loadgen.Prepare(ctx, load)
}
