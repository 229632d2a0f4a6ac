package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

const shares = 4 // partitions of a fleet

// haltAfter is how long the workers of these tests doubt.
const haltAfter = 200 * time.Millisecond

var fleetSettings = broker.Settings{Partitions: shares, MemberTTL: 900 * time.Millisecond,
	Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000}}

// fleet is a broker with a short member TTL, workers around it, and a load that does not stop for any of them.
type fleet struct {
	t      *testing.T
	srv    *natstest.Server
	broker *broker.Broker // of the load and of the audit
	dir    string
	stop   func()        // the load
	change func(*Config) // of the workers that are started from now on; may be nil
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, srv: natstest.Start(t, natstest.Lazy()), dir: t.TempDir()}
	f.broker = f.connect(f.srv.URL())
	return f
}

func (f *fleet) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), natstest.Patience)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *fleet) connect(url string) *broker.Broker {
	f.t.Helper()
	b, err := broker.Ensure(f.ctx(), f.srv.ConnectTo(url), fleetSettings, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// mate is one worker of the fleet, with a directory, a connection and metrics of its own.
type mate struct {
	*Worker
	t      *testing.T
	reg    *prometheus.Registry
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // after ended
}

func (f *fleet) start(name string) *mate { return f.startVia(name, f.srv.URL()) }

// startVia runs a worker until it is stopped, or the test ends.
func (f *fleet) startVia(name, url string) *mate {
	f.t.Helper()
	log := slog.New(slog.NewTextHandler(testLog{f.t, name}, nil))
	m := &mate{t: f.t, reg: prometheus.NewRegistry(), ended: make(chan struct{})}
	cfg := Config{DataDir: filepath.Join(f.dir, name), CheckpointEvery: 50 * time.Millisecond, DrainTimeout: time.Second, LeaveTimeout: natstest.Patience, HaltAfter: haltAfter}
	if f.change != nil {
		f.change(&cfg)
	}
	w, err := New(cfg, Deps{Broker: f.connect(url), Logger: log, Registerer: m.reg})
	if err != nil {
		f.t.Fatal(err)
	}
	m.Worker = w
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	go func() { defer close(m.ended); m.err = w.Run(ctx) }()
	f.t.Cleanup(m.drain)
	return m
}

// drain stops the worker in good order, if it can.
func (m *mate) drain() {
	m.cancel()
	select {
	case <-m.ended:
	case <-time.After(2 * natstest.Patience):
		m.t.Error("worker did not end")
	}
	if m.err != nil {
		m.t.Errorf("run: %v", m.err)
	}
}

// testLog writes to the test's log.
type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s %s", l.name, p[:len(p)-1])
	return len(p), nil
}

// settled waits until each partition is served by one of the workers alone and followed by another, the shares are even, and all agree.
func (f *fleet) settled(mates ...*mate) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		total, standbys := 0, 0
		for _, m := range mates {
			n := m.servesAlone(mates)
			standbys += m.follows()
			if n < shares/len(mates) || n > (shares+len(mates)-1)/len(mates) {
				return false
			}
			total += n
		}
		return total == shares && (standbys == shares || len(mates) == 1 && standbys == 0)
	}, "%d workers share the partitions: %v", len(mates), f)
}

// servesAlone counts the worker's partitions; -1 if it leads one that is not its own or does not serve, if it has another that it does not follow, or if
// the others see it otherwise.
func (m *mate) servesAlone(mates []*mate) int {
	served := 0
	for _, h := range m.all() {
		if h.standsBy() {
			continue
		}
		if !h.Serving() {
			return -1
		}
		served++
		for _, other := range mates {
			if other.owner(h.Status().Partition) != m.id() {
				return -1
			}
		}
	}
	return served
}

// follows counts what the worker stands by for, caught up.
func (m *mate) follows() (n int) {
	for _, h := range m.all() {
		if h.standsBy() {
			n++
		}
	}
	return n
}

func (w *Worker) owner(p int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners == nil {
		return ""
	}
	return w.owners[p]
}

const fleetUsers = 20

// load appends to every partition until it is stopped: triggers with and without delays, and asks for state meanwhile.
func (f *fleet) load() {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for p := range shares {
		wg.Go(func() { f.append(ctx, p) })
		wg.Go(func() { f.ask(ctx, p) })
	}
	f.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	f.t.Cleanup(f.stop)
}

func (f *fleet) append(ctx context.Context, p int) {
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for number := uint64(1); ctx.Err() == nil; number++ {
		f.send(p, number)
		<-pace.C
	}
}

func (f *fleet) send(p int, number uint64) {
	b := record.Batch{Writer: fmt.Sprintf("fleetwriter%d", p), Number: number, Time: time.Now().UnixMilli(), Count: 5}
	for i := range b.Count {
		if i > 0 {
			b.Payload = append(b.Payload, '\n')
		}
		r := fleetRecord(p, number, i)
		b.Payload = r.AppendTo(b.Payload)
	}
	msg := &nats.Msg{Subject: broker.TriggersSubject(p), Header: b.Header(), Data: b.Payload}
	if _, err := f.broker.JS.PublishMsg(f.ctx(), msg); err != nil {
		f.t.Errorf("append: %v", err)
	}
}

// fleetRecord registers each user once, and triggers from then on; every tenth redirect is delayed.
func fleetRecord(p int, number uint64, i int) record.Record {
	n := int(number)*5 + i
	user := fmt.Appendf(nil, "user-%d-%d", p, n%fleetUsers)
	if number <= fleetUsers/5 {
		return record.Record{Kind: record.Register, Account: []byte("demo"), User: user, Bot: []byte("shop")}
	}
	r := record.Record{Kind: record.Trigger, Account: []byte("demo"), User: user, Bot: []byte("shop"), Module: 1068935, HasModule: true,
		Redirect: true, Vars: []record.Var{{Name: []byte("n"), Value: []byte(strconv.Itoa(n))}}}
	if n%10 == 0 {
		r.Wait = int64(n % 300)
	}
	return r
}

// ask asks for a user all the while and logs the longest time for which nobody answered.
func (f *fleet) ask(ctx context.Context, p int) {
	client := statequery.NewClient(f.broker.Conn)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	last, worst := time.Now(), time.Duration(0)
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		_, err := client.Ask(one, p, statequery.Request{User: &statequery.User{Account: "demo", User: fmt.Sprintf("user-%d-0", p)}})
		if err == nil {
			worst = max(worst, time.Since(last))
			last = time.Now()
		}
		cancel()
		<-pace.C
	}
	f.t.Logf("partition %d: longest time without an answer %s", p, max(worst, time.Since(last)))
}

// audit stops the load and holds the workers, and EVENTS, to what an uninterrupted run leads to.
func (f *fleet) audit(mates ...*mate) {
	f.t.Helper()
	f.stop()
	f.settled(mates...)
	for p := range shares {
		f.auditPartition(p, mates)
	}
}

func (f *fleet) auditPartition(p int, mates []*mate) {
	f.t.Helper()
	for {
		last := f.last(p)
		digest, ok := f.digest(p, last, mates)
		want := f.reference(p, last)
		fresh := f.replay(p, last)
		got := f.emitted(p)
		if !ok || f.last(p) != last { // a tick came in between
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			f.t.Errorf("partition %d: events are not those of an uninterrupted run, each once (-want +got):\n%.3000s", p, d)
		}
		if digest != fresh {
			f.t.Errorf("partition %d: digest is %016x, that of a fresh replay %016x", p, digest, fresh)
		}
		f.t.Logf("partition %d: %d messages, %d events", p, last, len(got))
		return
	}
}

func (f *fleet) last(p int) uint64 {
	f.t.Helper()
	last, err := f.broker.LastSeq(f.ctx(), p)
	if err != nil {
		f.t.Fatal(err)
	}
	return last
}

// digest is the owner's, once everything is applied and emitted; false if it is past last.
func (f *fleet) digest(p int, last uint64, mates []*mate) (digest uint64, ok bool) {
	f.t.Helper()
	for _, m := range mates {
		for _, h := range m.all() {
			if s := h.Status(); s.Partition != p || !h.Leading() {
				continue
			}
			natstest.Eventually(f.t, func() bool {
				s := h.Status()
				return s.Applied >= last && s.Emitted >= s.Events
			}, "partition %d is applied and emitted", p)
			digest, applied, err := h.Digest(f.ctx())
			if err != nil {
				f.t.Fatal(err)
			}
			return digest, applied == last
		}
	}
	f.t.Fatalf("partition %d has no owner", p)
	return 0, false
}

// replay is the digest of a partition that has read the whole log into an empty directory.
func (f *fleet) replay(p int, last uint64) uint64 {
	f.t.Helper()
	x := partition.New(partition.Config{Partition: p, Path: filepath.Join(f.t.TempDir(), "replay.db")}, partition.Deps{Broker: f.broker})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = x.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	natstest.Eventually(f.t, func() bool { return x.Status().Applied >= last }, "partition %d is replayed", p)
	digest, _, err := x.Digest(f.ctx())
	if err != nil {
		f.t.Fatal(err)
	}
	return digest
}

// reference is what the log leads to without partitions, files, workers and moves: the machine alone.
func (f *fleet) reference(p int, last uint64) (events []string) {
	f.t.Helper()
	m := machine.New(p, machine.Head{}, machinetest.NewMemory())
	for seq := uint64(1); seq <= last; seq++ {
		msg, err := f.broker.Message(f.ctx(), p, seq)
		if err != nil {
			f.t.Fatal(err)
		}
		_, err = m.Apply(machine.Message{Seq: seq, Time: msg.Time.UnixMilli(), Header: msg.Header, Payload: msg.Data},
			func(e *machine.Event) { events = append(events, string(e.AppendJSON(nil))) })
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return events
}

// emitted reads EVENTS-p from its beginning.
func (f *fleet) emitted(p int) (events []string) {
	f.t.Helper()
	stream, err := f.broker.JS.Stream(f.ctx(), broker.EventsStream(p))
	if err != nil {
		f.t.Fatal(err)
	}
	for seq := max(stream.CachedInfo().State.FirstSeq, 1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(f.ctx(), seq)
		if err != nil {
			f.t.Fatal(err)
		}
		var batch []json.RawMessage
		if err := json.Unmarshal(msg.Data, &batch); err != nil {
			f.t.Fatalf("message %d: %v", seq, err)
		}
		for _, e := range batch {
			events = append(events, string(e))
		}
	}
	return events
}
