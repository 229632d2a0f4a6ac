package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// rig is a real broker with one partition's log.
type rig struct {
	t      testing.TB
	srv    *natstest.Server
	broker *broker.Broker
	number uint64 // of the last batch appended
	clock  int64  // the writer's clock, Unix milliseconds; 0 = the real one
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, srv: natstest.Start(t, natstest.Lazy())}
	r.broker = r.connect(r.srv.URL())
	return r
}

// connect is a broker of its own, by way of url.
func (r *rig) connect(url string) *broker.Broker {
	r.t.Helper()
	b, err := broker.Ensure(r.ctx(), r.srv.ConnectTo(url), broker.Settings{Partitions: 1, Limits: record.Limits{Machine: 1,
		MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000, MaxKeys: 2, KeysKeep: 86_400_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), natstest.Patience)
	r.t.Cleanup(cancel)
	return ctx
}

// append stores one batch and returns its sequence.
func (r *rig) append(records ...record.Record) uint64 {
	r.t.Helper()
	return r.appendWith(r.broker.JS, records...)
}

func (r *rig) appendWith(js jetstream.JetStream, records ...record.Record) uint64 {
	r.t.Helper()
	r.number++
	clock := r.clock
	if clock == 0 {
		clock = time.Now().UnixMilli()
	}
	b := record.Batch{Writer: "testwriter0000", Number: r.number, Time: clock, Count: len(records)}
	for i := range records {
		if i > 0 {
			b.Payload = append(b.Payload, '\n')
		}
		b.Payload = records[i].AppendTo(b.Payload)
		b.Version = max(b.Version, records[i].Version())
	}
	ack, err := js.PublishMsg(r.ctx(), &nats.Msg{Subject: broker.TriggersSubject(0), Header: b.Header(), Data: b.Payload})
	if err != nil {
		r.t.Fatal(err)
	}
	return ack.Sequence
}

func (r *rig) last() uint64 {
	r.t.Helper()
	seq, err := r.broker.LastSeq(r.ctx(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return seq
}

const account = "demo"

func register(user string) record.Record {
	return record.Record{Kind: record.Register, Account: []byte(account), User: []byte(user), Bot: []byte("shop"), Module: 21890, HasModule: true}
}

// trigger sets variable n to value and drives to a module, after wait milliseconds.
func trigger(user string, value int, wait int64) record.Record {
	return record.Record{Kind: record.Trigger, Account: []byte(account), User: []byte(user), Bot: []byte("shop"), Module: 1068935, HasModule: true,
		Redirect: true, Wait: wait, Vars: []record.Var{{Name: []byte("n"), Value: []byte(strconv.Itoa(value))}}}
}

// run is a partition that runs in the background.
type run struct {
	*Partition
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
	err  error // after done
}

// start runs a partition on file, as owner, until the test ends.
func (r *rig) start(file string, change ...func(*Config, *Deps)) *run {
	r.t.Helper()
	return r.run(r.make(file, change))
}

// standby runs one as a standby.
func (r *rig) standby(file string, change ...func(*Config, *Deps)) *run {
	r.t.Helper()
	p := r.make(file, change)
	p.Follow()
	return r.run(p)
}

func (r *rig) make(file string, change []func(*Config, *Deps)) *Partition {
	r.t.Helper()
	cfg := Config{Partition: 0, Path: file, CheckpointEvery: 50 * time.Millisecond, PollEvery: 50 * time.Millisecond, HaltAfter: 100 * time.Millisecond, SnapshotEvery: -1}
	deps := Deps{Broker: r.broker, Logger: slog.New(slog.NewTextHandler(testLog{r.t}, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	for _, c := range change {
		c(&cfg, &deps)
	}
	if err := cfg.Validate(); err != nil {
		r.t.Fatal(err)
	}
	return New(cfg, deps)
}

func (r *rig) run(p *Partition) *run {
	ctx, cancel := context.WithCancel(context.Background())
	x := &run{Partition: p, t: r.t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.err = x.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-x.done })
	return x
}

// testLog writes to the test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p[:len(p)-1])
	return len(p), nil
}

func (r *rig) file() string { return filepath.Join(r.t.TempDir(), "partition-0.db") }

// drain stops the partition and returns what Run did.
func (x *run) drain() error {
	x.stop()
	return x.wait()
}

func (x *run) wait() error {
	x.t.Helper()
	select {
	case <-x.done:
		return x.err
	case <-time.After(natstest.Patience):
		x.t.Fatal("partition did not end")
		return nil
	}
}

// reach waits until seq is applied and all its events are emitted.
func (x *run) reach(seq uint64) {
	x.t.Helper()
	natstest.Eventually(x.t, func() bool {
		s := x.Status()
		if s.State == "halted" {
			x.t.Fatalf("halted: %s", s.Cause)
		}
		return s.Applied >= seq && s.Emitted >= s.Events
	}, "partition applies and emits %d", seq)
}

func (x *run) digest() uint64 {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), natstest.Patience)
	defer cancel()
	d, _, err := x.Digest(ctx)
	if err != nil {
		x.t.Fatal(err)
	}
	return d
}

// reference is what the log leads to without partitions, files and crashes: the machine alone.
func (r *rig) reference() (events []string) {
	r.t.Helper()
	m := machine.New(0, machine.Head{}, machinetest.NewMemory())
	for seq := uint64(1); seq <= r.last(); seq++ {
		msg, err := r.broker.Message(r.ctx(), 0, seq)
		if err != nil {
			r.t.Fatal(err)
		}
		_, err = m.Apply(machine.Message{Seq: seq, Time: msg.Time.UnixMilli(), Header: msg.Header, Payload: msg.Data},
			func(e *machine.Event) { events = append(events, string(e.AppendJSON(nil))) })
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return events
}

// emitted reads EVENTS-0 from its beginning, holding every message to its headers.
func (r *rig) emitted() (events []string) {
	r.t.Helper()
	stream, err := r.broker.JS.Stream(r.ctx(), broker.EventsStream(0))
	if err != nil {
		r.t.Fatal(err)
	}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(r.ctx(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		var batch []json.RawMessage
		if err := json.Unmarshal(msg.Data, &batch); err != nil {
			r.t.Fatalf("message %d: %v", seq, err)
		}
		first, last := number(r.t, msg.Header.Get(HeaderFirstEvent)), number(r.t, msg.Header.Get(HeaderLastEvent))
		if first != len(events)+1 || last != len(events)+len(batch) {
			r.t.Fatalf("message %d says events %d to %d; it carries %d after %d", seq, first, last, len(batch), len(events))
		}
		for _, e := range batch {
			events = append(events, string(e))
		}
	}
	return events
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sameAsUninterrupted holds a partition, and EVENTS, to what an uninterrupted run leads to at the same end of the log.
func (r *rig) sameAsUninterrupted(x *run) {
	r.t.Helper()
	for {
		last := r.last()
		x.reach(last)
		want, got, digest, ledger := r.reference(), r.emitted(), x.digest(), x.view.read().ledger
		fresh := r.start(r.file())
		fresh.reach(last)
		uninterrupted, whole := fresh.digest(), fresh.view.read().ledger
		if err := fresh.drain(); err != nil {
			r.t.Error(err)
		}
		if r.last() != last { // a tick came in between
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			r.t.Errorf("events are not those of an uninterrupted run, each once (-want +got):\n%.4000s", d)
		}
		if digest != uninterrupted {
			r.t.Errorf("digest is %016x, that of an uninterrupted run %016x", digest, uninterrupted)
		}
		if ledger != whole || ledger.Unaccounted() != 0 {
			r.t.Errorf("ledger is %+v, that of an uninterrupted run %+v", ledger, whole)
		}
		return
	}
}

// crashAt is a failpoint that strikes when step is taken for the nth time, from 1.
func crashAt(step string, n int) func(*Config, *Deps) {
	var mu sync.Mutex
	return func(_ *Config, d *Deps) {
		d.Failpoint = func(s string) error {
			mu.Lock()
			defer mu.Unlock()
			if s != step {
				return nil
			}
			if n--; n != 0 {
				return nil
			}
			return errors.New("pulled the plug")
		}
	}
}

func users(n int) (rs []record.Record) {
	for i := range n {
		rs = append(rs, register(fmt.Sprintf("user-%d", i)))
	}
	return rs
}
