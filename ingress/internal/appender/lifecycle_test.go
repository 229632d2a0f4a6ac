package appender_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

func TestRecordTooLargeForTheLog(t *testing.T) {
	r := newRig(t, unhurried)
	if _, err := r.app.Append(t.Context(), 0, "demo", make([]byte, appender.MaxRecordBytes+1)); !errors.Is(err, appender.ErrTooLarge) {
		t.Errorf("error %v, want too large", err)
	}
	if _, err := r.app.Append(t.Context(), 0, "demo", make([]byte, appender.MaxRecordBytes)); err != nil {
		t.Errorf("the largest record: %v", err)
	}
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	for what, cfg := range map[string]appender.Config{
		"records": {Timeout: patient, StallAfter: patient, QueueRecords: 4},
		"bytes":   {Timeout: patient, StallAfter: patient, QueueBytes: 4 * len(line("u0"))},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, cfg)
			calls := []<-chan result{r.stuck("first"), r.call("demo", "u0"), r.call("demo", "u1")}
			r.queued(2)
			checkUnavailable(t, (<-r.call("demo", "u2")).err)
			r.proxy.Release()
			for _, c := range calls {
				if res := <-c; res.err != nil {
					t.Error(res.err)
				}
			}
			r.must("u3")
			if n := len(r.entries()); n != 4 {
				t.Errorf("%d records in the log, want 4", n)
			}
		})
	}
}

// Queued beyond its time: withdrawn, and never in the log.
func TestWhatIsNotSentInTimeIsWithdrawn(t *testing.T) {
	r := newRig(t, appender.Config{Timeout: 50 * time.Millisecond, StallAfter: patient})
	first, second := r.stuck("first"), r.call("demo", "second")
	checkUnavailable(t, (<-second).err)
	rec := receipt(t, (<-first).err)
	r.proxy.Release()
	r.app = r.start(appender.Config{Timeout: patient})
	r.must("third")
	natstest.Eventually(t, func() bool { _, err := where(r.entries(), rec); return err == nil }, "first is in the log")
	for _, user := range users(r.entries()) {
		if user == "second" {
			t.Error("a withdrawn record is in the log")
		}
	}
}

func TestCanceledCaller(t *testing.T) {
	r := newRig(t, unhurried)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2)
	appendOne := func(user string) {
		_, err := r.app.Append(ctx, 0, "demo", line(user))
		results <- err
	}
	r.proxy.Hold(natstest.ToServer)
	go appendOne("sent")
	natstest.Eventually(t, func() bool { return r.proxy.Held(natstest.ToServer) > 0 }, "the batch is held back")
	go appendOne("queued")
	r.queued(1)
	cancel()
	unknown, withdrawn := <-results, <-results
	if errors.Is(unknown, appender.ErrUnavailable) {
		unknown, withdrawn = withdrawn, unknown
	}
	checkUnavailable(t, withdrawn)
	if !errors.Is(withdrawn, context.Canceled) {
		t.Errorf("error %v does not say why", withdrawn)
	}
	rec := receipt(t, unknown)
	r.queued(0)
	r.proxy.Release()
	r.must("next")
	if e, err := where(r.entries(), rec); err != nil || e.user != "sent" {
		t.Errorf("receipt leads to %q, %v", e.user, err)
	}
	checkUnavailable(t, func() error { _, err := r.app.Append(ctx, 0, "demo", line("late")); return err }())
	if diff := cmp.Diff([]string{"sent", "next"}, users(r.entries())); diff != "" {
		t.Error(diff)
	}
}

func TestCloseWaitsForWhatIsQueued(t *testing.T) {
	r := newRig(t, unhurried)
	first, second := r.stuck("first"), r.call("demo", "second")
	r.queued(1)
	closed := make(chan error, 1)
	go func() { closed <- r.app.Close(t.Context()) }()
	natstest.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := r.app.Append(ctx, 0, "demo", line("late"))
		return errors.Is(err, appender.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded)
	}, "new calls are refused")
	r.proxy.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for _, c := range []<-chan result{first, second} {
		if res := <-c; res.err != nil {
			t.Error(res.err)
		}
	}
	if err := r.app.Close(t.Context()); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// Nobody is told anything that is not so when there is no time to wait.
func TestCloseOutOfTimeAnswersHonestly(t *testing.T) {
	r := newRig(t, unhurried)
	first, second := r.stuck("first"), r.call("demo", "second")
	r.queued(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.app.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v, want canceled", err)
	}
	rec := receipt(t, (<-first).err)
	checkUnavailable(t, (<-second).err)
	r.proxy.Release()
	natstest.Eventually(t, func() bool { return len(r.entries()) == 1 }, "first is in the log")
	if _, err := where(r.entries(), rec); err != nil {
		t.Error(err)
	}
}

// Whoever has no time left and nothing left to do has not failed.
func TestCloseOutOfTimeWithNothingLeft(t *testing.T) {
	r := newRig(t, unhurried)
	r.must("before")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.app.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestClosedConnection(t *testing.T) {
	r := newRig(t, unhurried)
	r.must("before")
	r.nc.Close()
	natstest.Eventually(t, func() bool {
		return errors.Is((<-r.call("demo", "after")).err, appender.ErrUnavailable)
	}, "calls are refused")
}

// The client refuses to send: nothing was stored, and the next batch is not hindered.
func TestWhatTheClientRefusesIsFinal(t *testing.T) {
	small := natstest.Tune(func(o *server.Options) { o.MaxPayload = 4096 })
	r := newRigOn(t, natstest.Start(t, small), unhurried)
	first, big := r.stuck("first"), r.call("demo", strings.Repeat("x", 4096))
	r.queued(1)
	r.proxy.Release()
	checkUnavailable(t, (<-big).err)
	if res := <-first; res.err != nil {
		t.Error(res.err)
	}
	r.must("next")
}

func TestMetricsAreWellFormed(t *testing.T) {
	reg := prometheus.NewRegistry()
	nc := natstest.Start(t, natstest.Lazy()).Connect()
	app, err := appender.New(appender.Config{Partitions: 2}, appender.Deps{Conn: nc, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close(t.Context())
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	// Dashboards and alerts go by these names.
	want := []string{
		"triggerd_ingress_append_batch_bytes", "triggerd_ingress_append_batch_records", "triggerd_ingress_append_duration_seconds",
		"triggerd_ingress_append_queue_records", "triggerd_ingress_append_refused_records_total",
		"triggerd_ingress_append_repeated_batches_total", "triggerd_ingress_append_reversals_total", "triggerd_ingress_append_stored_records_total", "triggerd_ingress_append_unknown_records_total",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestConfigIsChecked(t *testing.T) {
	bad := appender.Config{Partitions: -1, Timeout: -1, QueueRecords: -1, BatchBytes: broker.MaxMessageBytes}
	if _, err := appender.New(bad, appender.Deps{}); err == nil {
		t.Error("a bad config was taken")
	}
}
