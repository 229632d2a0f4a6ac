package control

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
)

// Defaults of Config.
const (
	DefaultRelistEvery = 30 * time.Second
	DefaultTimeout     = 2 * time.Second
)

// Config of Orders. Zero values are replaced by the defaults.
type Config struct {
	RelistEvery time.Duration // how often a watch is begun anew, which lists the bucket again
	Timeout     time.Duration // one request to the broker
}

// Deps is what Orders works with. Broker is mandatory.
type Deps struct {
	Broker *broker.Broker
	Logger *slog.Logger
}

// Orders is what holds for all partitions, as far as this process has heard.
type Orders struct {
	cfg     Config
	deps    Deps
	changed chan struct{}
	orders  []atomic.Pointer[Order] // by partition, never nil

	mu     sync.Mutex
	board  board
	listed bool
	turned chan struct{} // closed with the next change
}

// New does not touch the broker yet. Until Run has listed the bucket, or Await has read a partition's keys, nothing is known to hold.
func New(cfg Config, deps Deps) *Orders {
	if cfg.RelistEvery == 0 {
		cfg.RelistEvery = DefaultRelistEvery
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	o := &Orders{cfg: cfg, deps: deps, changed: make(chan struct{}, 1), turned: make(chan struct{}), orders: make([]atomic.Pointer[Order], deps.Broker.Partitions())}
	for p := range o.orders {
		o.orders[p].Store(&Order{})
	}
	return o
}

// Of is what holds for partition p. The result is not to be changed.
func (o *Orders) Of(p int) *Order { return o.orders[p].Load() }

// Known says whether the bucket was listed once.
func (o *Orders) Known() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.listed
}

// Changed gets something after changes, and when the bucket was listed for the first time. One thing in it may stand for several changes.
func (o *Orders) Changed() <-chan struct{} { return o.changed }

// tell wakes those who wait for a change. The lock is held.
func (o *Orders) tell() {
	close(o.turned)
	o.turned = make(chan struct{})
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Await reads partition p's keys from the leader, trying again until ctx ends, and returns what holds from then on. Before somebody
// starts a partition, this is what keeps a message that kills processes from killing one more.
func (o *Orders) Await(ctx context.Context, p int) (*Order, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := o.ask(ctx, p)
		if err == nil {
			return o.Of(p), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		o.deps.Logger.Debug("orders were not read", "partition", p, "cause", err)
		rest(ctx, pause)
	}
}

// AwaitStart waits until partition p may be started: its keys were read from the leader, and it is not paused, or not any more. It returns when ctx ends as
// well. Whoever looks at Of after each Changed may see a pause and its end as one change, or nothing at all.
func (o *Orders) AwaitStart(ctx context.Context, p int) {
	for {
		turn := o.turn()
		order, err := o.Await(ctx, p)
		if err != nil || !order.Paused() {
			return
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return
		}
	}
}

// turn is closed with the next change.
func (o *Orders) turn() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.turned
}

func (o *Orders) ask(ctx context.Context, p int) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	pauseBefore, crashBefore := o.revision(pauseKey(p)), o.revision(crashKey(p))
	pause, crash, err := readBoth(ctx, o.deps.Broker, p)
	if err != nil {
		return err
	}
	o.found(crashKey(p), crash, crashBefore)
	o.found(pauseKey(p), pause, pauseBefore)
	return nil
}

func (o *Orders) revision(key string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.board.entries[key].revision
}

// found notes what the leader said. That a key is not there says that what was known before it was asked is deleted.
func (o *Orders) found(key string, e entry, before uint64) {
	if e.value != nil {
		o.take(key, e)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if had := o.board.entries[key]; had.value != nil && had.revision == before {
		o.board.entries[key] = entry{revision: before}
		o.show(key)
	}
}

// take notes one key and shows what it means.
func (o *Orders) take(key string, e entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.board.take(key, e) {
		o.show(key)
	}
}

// complete ends a list.
func (o *Orders) complete(list map[string]entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, key := range o.board.replace(list) {
		o.show(key)
	}
	if !o.listed {
		o.listed = true
		o.tell()
	}
}

// show makes the order of a key's partition anew. The lock is held.
func (o *Orders) show(key string) {
	p, ok := partitionOf(key)
	if !ok || p >= len(o.orders) {
		return
	}
	pause, crash := o.board.entries[pauseKey(p)], o.board.entries[crashKey(p)]
	order, err := newOrder(pause.value, pause.revision, crash.value)
	if err != nil {
		o.deps.Logger.Error("order cannot be read", "partition", p, "cause", err)
	}
	before := o.orders[p].Swap(order)
	if before.Revision != order.Revision && order.Revision != 0 {
		o.deps.Logger.Info("operator has spoken", "partition", p, "paused", order.Paused(), "who", order.Word.Who, "reason", order.Word.Reason)
	}
	if s, ok := order.Quarantined(); ok {
		if _, had := before.Quarantined(); !had {
			o.deps.Logger.Error("message is in quarantine", "partition", p, "seq", s.Seq, "cause", s.String())
		}
	}
	o.tell()
}

func partitionOf(key string) (int, bool) {
	number, ok := strings.CutPrefix(key, pausePrefix)
	if !ok {
		number, ok = strings.CutPrefix(key, crashPrefix)
	}
	p, err := strconv.Atoi(number)
	return p, ok && err == nil && p >= 0
}

// entry is a key's value; nil if it was deleted.
type entry struct {
	revision uint64
	value    []byte
}

// board is what the bucket says. Not safe for concurrent use.
type board struct {
	entries map[string]entry
	newest  uint64 // revision
	older   bool   // the last list was older than this
}

// take notes an entry if it is newer, and says whether it was.
func (b *board) take(key string, e entry) bool {
	if b.entries == nil {
		b.entries = make(map[string]entry)
	}
	if e.revision <= b.entries[key].revision {
		return false
	}
	b.entries[key] = e
	b.newest = max(b.newest, e.revision)
	return true
}

// replace takes a complete list over, and returns the keys that changed. One that is older than what is known counts if it is the second
// such in a row.
func (b *board) replace(list map[string]entry) (changed []string) {
	newest := uint64(0)
	for _, e := range list {
		newest = max(newest, e.revision)
	}
	if newest < b.newest && !b.older {
		b.older = true
		return nil
	}
	b.older = false
	for key := range b.entries {
		if _, ok := list[key]; !ok {
			changed = append(changed, key)
		}
	}
	for key, e := range list {
		if b.entries[key].revision != e.revision {
			changed = append(changed, key)
		}
	}
	b.entries, b.newest = maps.Clone(list), newest
	return changed
}
