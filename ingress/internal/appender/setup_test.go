package appender_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) {
	natstest.BeServer()
	goleak.VerifyTestMain(m)
}

// patient is a caller's time that no test outlives, for tests in which nothing should time out.
const patient = natstest.Patience

// unhurried never takes a slow machine for a broker that is away.
var unhurried = appender.Config{Timeout: patient, StallAfter: patient}

// rig is a deployment of one partition and an appender that writes to it by way of a proxy.
type rig struct {
	t     testing.TB
	srv   *natstest.Server
	proxy *natstest.Proxy
	nc    *nats.Conn // the appender's
	log   *broker.Broker
	app   *appender.Appender
}

func newRig(t testing.TB, cfg appender.Config, settings ...func(*broker.Settings)) *rig {
	t.Helper()
	return newRigOn(t, natstest.Start(t), cfg, settings...)
}

func newRigOn(t testing.TB, srv *natstest.Server, cfg appender.Config, settings ...func(*broker.Settings)) *rig {
	t.Helper()
	r := &rig{t: t, srv: srv}
	r.proxy = r.srv.Proxy()
	r.nc = r.srv.ConnectTo(r.proxy.URL())
	s := broker.Settings{Partitions: 1, Limits: record.Limits{Machine: 1, MaxUserBytes: 1, MaxPending: 1, OutcomesKeep: 1}}
	for _, f := range settings {
		f(&s)
	}
	var err error
	r.log, err = broker.Ensure(t.Context(), r.srv.Connect(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.app = r.start(cfg)
	return r
}

// start makes an appender that the test's end closes.
func (r *rig) start(cfg appender.Config) *appender.Appender {
	r.t.Helper()
	cfg.Partitions = 1
	app, err := appender.New(cfg, appender.Deps{Conn: r.nc})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.nc.FlushTimeout(patient); err != nil { // so that what the proxy holds later is batches
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whatever is still in flight
		_ = app.Close(ctx)
	})
	return app
}

func window(d time.Duration) func(*broker.Settings) {
	return func(s *broker.Settings) { s.DuplicateWindow = d }
}

// entry is a record as it lies in the log.
type entry struct {
	record.Position
	batch record.Batch
	user  string
}

// entries reads all records that an appender wrote, in the order of the log.
func (r *rig) entries() []entry {
	r.t.Helper()
	last, err := r.log.LastSeq(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []entry
	for seq := uint64(1); seq <= last; seq++ {
		msg, err := r.log.Message(r.t.Context(), 0, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // purged
		}
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, r.unpack(msg)...)
	}
	return all
}

func (r *rig) unpack(msg *jetstream.RawStreamMsg) (all []entry) {
	r.t.Helper()
	batch, err := record.ParseBatch(msg.Header, msg.Data)
	if err != nil {
		r.t.Fatal(err)
	}
	if batch.Number == 0 {
		return nil // the first record of the log
	}
	err = batch.Lines(func(i int, line []byte) error {
		var rec record.Record
		err := rec.Decode(line, record.Version)
		all = append(all, entry{record.Position{Seq: msg.Sequence, Index: uint32(i)}, batch, string(rec.User)})
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// line is a record of which only the user matters.
func line(user string) []byte {
	r := record.Record{Kind: record.Trigger, Account: []byte("demo"), User: []byte(user)}
	return r.AppendTo(nil)
}

// result is what became of one call.
type result struct {
	user string
	pos  record.Position
	err  error
}

// call appends one record in the background.
func (r *rig) call(account, user string) <-chan result {
	done := make(chan result, 1)
	go func() {
		pos, err := r.app.Append(r.t.Context(), 0, account, line(user))
		done <- result{user, pos, err}
	}()
	return done
}

// must appends one record, now.
func (r *rig) must(user string) record.Position {
	r.t.Helper()
	res := <-r.call("demo", user)
	if res.err != nil {
		r.t.Fatalf("append %s: %v", user, res.err)
	}
	return res.pos
}

// queued waits until n records wait behind the batch in flight.
func (r *rig) queued(n int) {
	r.t.Helper()
	natstest.Eventually(r.t, func() bool { return appender.QueueLen(r.app, 0) == n }, "%d records in the queue", n)
}

// stuck sends one record that does not get through until the proxy releases it, so that what follows is queued.
func (r *rig) stuck(user string) <-chan result {
	r.t.Helper()
	r.proxy.Hold(natstest.ToServer)
	done := r.call("demo", user)
	natstest.Eventually(r.t, func() bool { return r.proxy.Held(natstest.ToServer) > 0 }, "the batch is held back")
	return done
}

func checkUnavailable(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, appender.ErrUnavailable) {
		t.Fatalf("error %v, want unavailable", err)
	}
}

func name(prefix string, i int) string { return prefix + strconv.Itoa(i) }

func users(all []entry) (names []string) {
	for _, e := range all {
		names = append(names, e.user)
	}
	return names
}

// checkOrder: nothing newer of a writer lies before something older for the first time.
func checkOrder(t testing.TB, all []entry) {
	t.Helper()
	highest := uint64(0)
	seen := map[uint64]string{}
	for _, e := range all {
		n := e.batch.Number
		if old, again := seen[n]; again && old != string(e.batch.Payload) {
			t.Errorf("number %d has two contents", n)
		}
		if _, again := seen[n]; !again && n < highest {
			t.Errorf("batch %d lies behind batch %d", n, highest)
		}
		seen[n] = string(e.batch.Payload)
		highest = max(highest, n)
	}
}

func receipt(t testing.TB, err error) record.Receipt {
	t.Helper()
	var unknown *appender.UnknownError
	if !errors.As(err, &unknown) {
		t.Fatalf("error %v, want an unknown outcome", err)
	}
	parsed, err := record.ParseReceipt(unknown.Receipt.String())
	if err != nil || parsed != unknown.Receipt {
		t.Fatalf("receipt %v reads as %v, %v", unknown.Receipt, parsed, err)
	}
	return parsed
}

// where finds the first place of a receipt's record in the log.
func where(all []entry, r record.Receipt) (entry, error) {
	for _, e := range all {
		if e.batch.Writer == r.Writer && e.batch.Number == r.Number && e.Index == r.Index {
			return e, nil
		}
	}
	return entry{}, fmt.Errorf("receipt %v is not in the log", r)
}
