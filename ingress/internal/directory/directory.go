// Package directory knows which Modules each account has, and to which bot each belongs. The truth is the KV bucket
// MODULES, one key per account, so that an account's whole set changes in one compare-and-set.
//
// # Usage
//
// One [Directory] serves an ingress. [Directory.Bot] is for every trigger: a hit in the local copy costs a read lock and allocates nothing.
// [Directory.Declare] and [Directory.Modules] are for PUT and GET of a bot's set. [Directory.Close] last.
//
// # Ordering
//
// Every ingress watches the bucket and keeps a copy, account by account, that never goes back to an older revision. What the
// copy lacks is read from the bucket's leader before it is called unknown, so a Module that was declared through one ingress is
// known to all the others from the moment its PUT was answered. What was taken away disappears when the watch brings the news.
//
// # Failure
//
// A watch can miss a change; so everything is listed again every Config.RelistEvery. While the broker is away the copy answers for what it
// has, and everything else is an error, never "unknown".
//
// # Concurrency
//
// Everything is safe for concurrent use. Callers who miss share reads: per account one is in flight, and those who come
// meanwhile share the next one, because the one in flight may have been answered before they asked.
package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
)

// Bucket is the KV bucket; broker.Ensure has made it.
const Bucket = broker.BucketModules

// Defaults of Config.
const (
	DefaultRelistEvery    = time.Minute
	DefaultReadTimeout    = 500 * time.Millisecond
	DefaultListTimeout    = 10 * time.Second
	DefaultDeclareTimeout = 3 * time.Second
	DefaultMaxModules     = 5000
	DefaultMaxBots        = 1000
	DefaultMaxValueBytes  = 768 << 10
)

// Config of a Directory. Zero fields mean the default.
type Config struct {
	RelistEvery    time.Duration // the whole bucket is listed anew
	ReadTimeout    time.Duration // one read from the leader
	ListTimeout    time.Duration // a list that takes longer is begun again
	DeclareTimeout time.Duration // a Declare with all its retries
	MaxModules     int           // Modules of a bot
	MaxBots        int           // bots of an account
	MaxValueBytes  int           // an account's whole set, encoded; never more than the broker's max_payload
}

// Validate joins all faults.
func (c Config) Validate() error {
	var faults []error
	for name, v := range map[string]int64{
		"relist every": int64(c.RelistEvery), "read timeout": int64(c.ReadTimeout), "list timeout": int64(c.ListTimeout),
		"declare timeout": int64(c.DeclareTimeout), "max modules": int64(c.MaxModules), "max bots": int64(c.MaxBots),
		"max value bytes": int64(c.MaxValueBytes),
	} {
		if v < 0 {
			faults = append(faults, fmt.Errorf("%s is negative", name))
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.RelistEvery = cmp.Or(c.RelistEvery, DefaultRelistEvery)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, DefaultReadTimeout)
	c.ListTimeout = cmp.Or(c.ListTimeout, DefaultListTimeout)
	c.DeclareTimeout = cmp.Or(c.DeclareTimeout, DefaultDeclareTimeout)
	c.MaxModules = cmp.Or(c.MaxModules, DefaultMaxModules)
	c.MaxBots = cmp.Or(c.MaxBots, DefaultMaxBots)
	c.MaxValueBytes = cmp.Or(c.MaxValueBytes, DefaultMaxValueBytes)
	return c
}

// Deps is what a Directory works with. The broker stays the caller's.
type Deps struct {
	Broker     *broker.Broker
	Registerer prometheus.Registerer // nil: metrics are kept and shown to nobody
	Log        *slog.Logger          // nil: nothing is logged
}

// Directory is safe for concurrent use.
type Directory struct {
	cfg     Config
	broker  *broker.Broker
	log     *slog.Logger
	metrics *metrics
	copy    *replica
	reads   reads

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	watch     context.Context // ends with Close, or alone in tests
	stopWatch context.CancelFunc
	listed    chan struct{} // closed when the first list is complete
	wg        sync.WaitGroup
}

// New begins to watch the bucket and returns at once; until the first list is complete (Listed), questions are answered by reading from the
// leader. Errors: those of Config.Validate, and of registering the metrics.
func New(cfg Config, deps Deps) (*Directory, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	d := &Directory{
		cfg: cfg.withDefaults(), broker: deps.Broker, log: deps.Log,
		copy: newReplica(), listed: make(chan struct{}),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.metrics = newMetrics(d.copy)
	if err := d.metrics.register(deps.Registerer); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.watch, d.stopWatch = context.WithCancel(d.ctx)
	d.wg.Add(1)
	go d.keepWatching()
	return d, nil
}

// Listed is closed once the copy has held the whole bucket.
func (d *Directory) Listed() <-chan struct{} { return d.listed }

// Close ends the watch and all reads, and returns when their goroutines have ended; while the broker is away that can take some
// seconds. Afterwards only the copy answers.
func (d *Directory) Close() {
	d.reads.close()
	d.cancel()
	d.wg.Wait()
}

// Bot returns the bot that has the module. A module that the watched copy does not have is looked up at the bucket's leader before it
// is called unknown (ok false). err: the leader could not be asked within Config.ReadTimeout, or ctx ended.
func (d *Directory) Bot(ctx context.Context, account string, module int64) (bot string, ok bool, err error) {
	if bot, ok = d.copy.bot(account, module); ok {
		return bot, true, nil
	}
	cat, err := d.fresh(ctx, account)
	if err != nil {
		return "", false, fmt.Errorf("look up module: %w", err)
	}
	bot, ok = cat.owners[module]
	return bot, ok, nil
}

// Modules lists a bot's modules, sorted by id, as the bucket's leader has them; ok false if the bot was never declared. The slice is shared:
// it must not be changed. Errors as of Bot.
func (d *Directory) Modules(ctx context.Context, account, bot string) (modules []Module, ok bool, err error) {
	cat, err := d.fresh(ctx, account)
	if err != nil {
		return nil, false, fmt.Errorf("list modules: %w", err)
	}
	modules, ok = cat.bots[bot]
	return modules, ok, nil
}
