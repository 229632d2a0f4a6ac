// Package appender makes records durable: it packs the records of concurrent callers into batches, one in flight
// per partition, and repeats each batch until its fate is known.
//
// # Usage
//
//	a, err := appender.New(appender.Config{Partitions: 8}, appender.Deps{Conn: conn, Log: log})
//	pos, err := a.Append(ctx, p, account, line) // from as many goroutines as there are requests
//	err = a.Close(ctx)
//
// # Ordering
//
// Calls for one account and partition enter the log in the order in which they were made (a later call begins after an
// earlier one has begun, in the same goroutine or ordered otherwise). Accounts take turns, record by record, so a record waits for at most one of each other account, however
// many those have waiting; what AppendBulk brings comes after them all. A batch is sent when nothing is in flight, at once and however small it is; what comes meanwhile is the next batch.
//
// # Exactly once
//
// Batches of an appender and partition are numbered, and a number is never used for two contents. A batch whose fate is
// unknown (no answer in time, connection lost) is sent again, the same bytes under the same number, until the log says
// where it lies. Nothing newer is sent before. The server recognises a copy within its duplicate window, the reader of the
// log by the number beyond it.
//
// # Failure
//
// ErrUnavailable means that nothing was stored and nothing will be: the caller may repeat. *UnknownError means that the
// record was sent and may be in the log, or come to be there; its receipt names it. An explicit refusal (log full, nobody
// listens) of a batch that was sent once is final. While the broker is away calls fail at once. It needs no restart when
// the broker comes back.
//
// # Memory
//
// Append copies the line before it is sent; once Append has returned the caller may reuse it, whatever was returned. The
// queues are bounded in records and bytes. An account may have as much of a queue as is left for everybody else.
//
// # Concurrency
//
// An Appender is safe for concurrent use. It has a goroutine per partition and one that watches the connection; Close
// waits for them.
package appender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/tracing"
)

var (
	// ErrUnavailable: nothing was stored and nothing will be; the caller may repeat. (log full, broker away, queue full,
	// draining, not sent in time)
	ErrUnavailable = errors.New("unavailable")
	// ErrTooLarge: no log takes a record of this size; repeating it is in vain.
	ErrTooLarge = fmt.Errorf("record is larger than %d bytes", MaxRecordBytes)
)

// UnknownError: the record was sent but not confirmed in time; it may yet be stored.
type UnknownError struct{ Receipt record.Receipt }

func (e *UnknownError) Error() string {
	return "append not confirmed in time: receipt " + e.Receipt.String()
}

// Defaults of Config.
const (
	DefaultTimeout      = 750 * time.Millisecond
	DefaultStallAfter   = 750 * time.Millisecond
	DefaultRepeatAfter  = time.Second
	DefaultRepeatMax    = 5 * time.Second
	DefaultQueueRecords = 16384
	DefaultQueueBytes   = 16 << 20
	DefaultBatchRecords = 1000
	DefaultBatchBytes   = 256 << 10

	// MaxRecordBytes is what a message of the log holds besides its headers.
	MaxRecordBytes = broker.MaxMessageBytes - 4096
)

// Config bounds an appender. Zero values mean the defaults.
type Config struct {
	Partitions   int           // of the deployment; no default
	Timeout      time.Duration // how long a call waits at most, to within a sixteenth
	StallAfter   time.Duration // a batch unresolved for longer makes new calls fail at once
	RepeatAfter  time.Duration // without an answer a batch is sent again after this, doubling …
	RepeatMax    time.Duration // … up to this
	QueueRecords int           // records waiting per partition
	QueueBytes   int           // bytes of the records waiting per partition
	BatchRecords int           // records in a batch
	BatchBytes   int           // payload of a batch; a larger record travels alone
}

// Validate joins all that is wrong with c.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	atLeast := func(name string, have, want int64) {
		if have < want {
			faults = append(faults, fmt.Errorf("%s %d: want at least %d", name, have, want))
		}
	}
	atLeast("partitions", int64(c.Partitions), 1)
	atLeast("timeout", int64(c.Timeout), int64(time.Millisecond))
	atLeast("stall after", int64(c.StallAfter), int64(time.Millisecond))
	atLeast("repeat after", int64(c.RepeatAfter), int64(time.Millisecond))
	atLeast("maximum of repeat after", int64(c.RepeatMax), int64(c.RepeatAfter))
	atLeast("queue records", int64(c.QueueRecords), 1)
	atLeast("queue bytes", int64(c.QueueBytes), 1)
	atLeast("batch records", int64(c.BatchRecords), 1)
	atLeast("batch bytes", int64(c.BatchBytes), 1)
	if c.BatchBytes > MaxRecordBytes {
		faults = append(faults, fmt.Errorf("batch bytes %d: want at most %d", c.BatchBytes, MaxRecordBytes))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.StallAfter = orDefault(c.StallAfter, DefaultStallAfter)
	c.RepeatAfter = orDefault(c.RepeatAfter, DefaultRepeatAfter)
	c.RepeatMax = orDefault(c.RepeatMax, max(DefaultRepeatMax, c.RepeatAfter))
	c.QueueRecords = orDefault(c.QueueRecords, DefaultQueueRecords)
	c.QueueBytes = orDefault(c.QueueBytes, DefaultQueueBytes)
	c.BatchRecords = orDefault(c.BatchRecords, DefaultBatchRecords)
	c.BatchBytes = orDefault(c.BatchBytes, DefaultBatchBytes)
	return c
}

// tick is how often deadlines are looked at while anybody waits.
func (c Config) tick() time.Duration {
	return max(time.Millisecond, min(c.Timeout/16, c.RepeatAfter/4))
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Deps is what an appender works with. It owns none of it.
type Deps struct {
	Conn       *nats.Conn            // should reconnect for ever
	Registerer prometheus.Registerer // nil = metrics that nobody sees
	Log        *slog.Logger          // nil = none
	Health     *lifecycle.Health     // watches whether the partitions' loops turn; nil = nobody does
	Tracer     *tracing.Tracer       // nil = spans go nowhere
}

// Appender is safe for concurrent use.
type Appender struct {
	cfg     Config
	conn    *nats.Conn
	log     *slog.Logger
	metrics *metrics
	tracer  *tracing.Tracer
	writer  string
	inbox   string // subject of answers, without the partition's part

	parts     []*partition
	connected atomic.Bool
	lost      atomic.Uint64 // rises whenever the connection was lost
	calls     sync.Pool     // of *call

	running   sync.WaitGroup // the partitions
	abort     chan struct{}  // closed: answer everybody now
	watching  sync.WaitGroup
	unwatch   chan struct{}
	closeOnce sync.Once
	closeErr  error
	gaveUp    atomic.Bool // a partition that was aborted had something left
}

// New starts an appender under a new writer's name. The caller closes it.
func New(cfg Config, deps Deps) (*Appender, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check settings of the appender: %w", err)
	}
	a := &Appender{
		cfg:     cfg,
		conn:    deps.Conn,
		log:     deps.Log,
		tracer:  deps.Tracer,
		writer:  nuid.Next(),
		inbox:   deps.Conn.NewInbox(),
		abort:   make(chan struct{}),
		unwatch: make(chan struct{}),
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.metrics = newMetrics(deps.Registerer, cfg.Partitions)
	a.calls.New = func() any { return &call{done: make(chan struct{}, 1)} }
	return a, a.start(deps.Health)
}

// start subscribes the partitions to their answers and sets them going; all or none.
func (a *Appender) start(health *lifecycle.Health) error {
	for p := range a.cfg.Partitions {
		part, err := newPartition(a, p)
		if err != nil {
			a.unsubscribe()
			return fmt.Errorf("subscribe to acknowledgements: %w", err)
		}
		a.parts = append(a.parts, part)
	}
	a.connected.Store(a.conn.IsConnected())
	status := a.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	a.watching.Go(func() { a.watch(status) })
	for _, part := range a.parts {
		pulse, forget := health.Pulse(fmt.Sprintf("appender %d", part.id))
		part.pulse = pulse
		a.running.Go(func() { defer forget(); part.run() })
	}
	return nil
}

// Writer is this appender's name in the log.
func (a *Appender) Writer() string { return a.writer }

// Append makes line (one record as record.AppendTo renders it) durable in partition p and returns its position. It waits
// at most Config.Timeout and not beyond ctx. account is for fairness between accounts. line is the caller's again when
// Append returns.
//
// Errors: wraps ErrUnavailable (with the cause) or ErrTooLarge, or is an *UnknownError.
func (a *Appender) Append(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	return a.append(ctx, p, account, line, usual)
}

// AppendBulk is Append for imports: such records enter a batch only when no others wait, so that an import does not stand
// in front of anybody. There is no order between them and those of Append, as long as both wait.
func (a *Appender) AppendBulk(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	return a.append(ctx, p, account, line, bulk)
}

func (a *Appender) append(ctx context.Context, p int, account string, line []byte, class class) (record.Position, error) {
	if len(line) > MaxRecordBytes {
		return record.Position{}, ErrTooLarge
	}
	if err := ctx.Err(); err != nil {
		return record.Position{}, a.metrics.refuse(p, causeCanceled, err)
	}
	part, c := a.parts[p], a.calls.Get().(*call)
	begun := time.Now()
	c.line, c.account, c.class, c.deadline = line, account, class, begun.Add(a.cfg.Timeout)
	if a.tracer != nil {
		c.trace = tracing.From(ctx)
	}
	if cause, err := part.enqueue(c, begun); err != nil {
		a.release(c)
		return record.Position{}, a.metrics.refuse(p, cause, err)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if gone, err := part.abandon(c, ctx.Err()); gone {
			return record.Position{}, err
		}
		<-c.done // it was being answered
	}
	pos, err := c.pos, c.err
	a.release(c)
	if err == nil {
		a.metrics.duration.Observe(time.Since(begun).Seconds())
	}
	return pos, err
}

// release gives a call back to the pool. Only whoever knows that nobody else has it may call this.
func (a *Appender) release(c *call) {
	c.line, c.account, c.err, c.trace = nil, "", nil, tracing.Context{}
	a.calls.Put(c)
}

// Close refuses new calls, waits until what is queued and in flight is resolved, and ends the appender. When ctx ends
// first the rest, if there is any, is answered as it stands: ErrUnavailable for what was not sent, *UnknownError for what was; the error
// is then ctx's. The connection stays open.
func (a *Appender) Close(ctx context.Context) error {
	a.closeOnce.Do(func() { a.closeErr = a.drain(ctx) })
	return a.closeErr
}

func (a *Appender) drain(ctx context.Context) (err error) {
	for _, part := range a.parts {
		part.drain()
	}
	idle := make(chan struct{})
	go func() { a.running.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		close(a.abort)
		<-idle
		if a.gaveUp.Load() { // otherwise there was nothing to wait for
			err = fmt.Errorf("drain appender: %w", ctx.Err())
		}
	}
	close(a.unwatch)
	a.watching.Wait()
	a.unsubscribe()
	return err
}

func (a *Appender) unsubscribe() {
	for _, part := range a.parts {
		_ = part.sub.Unsubscribe() // fails only if the connection is closed
	}
}

// watchInterval bounds how long a missed change of the connection's status goes unnoticed.
const watchInterval = 250 * time.Millisecond

// watch follows the connection's status.
func (a *Appender) watch(status chan nats.Status) {
	defer a.conn.RemoveStatusListener(status)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		changed := false
		select {
		case s := <-status:
			changed = true
			if s != nats.CONNECTED {
				a.lost.Add(1)
			}
		case <-tick.C:
		case <-a.unwatch:
			return
		}
		now := a.conn.IsConnected()
		if a.connected.Swap(now) != now || changed {
			a.pokeAll()
		}
	}
}

func (a *Appender) pokeAll() {
	for _, part := range a.parts {
		part.poke()
	}
}
