package partition

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Metric names are a promise: dashboards, alerts and the contract name them.
func TestMetricNames(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := New(Config{Path: "unused"}, Deps{Metrics: NewMetrics(reg)})
	p.deps.Metrics.attach(p)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, name := range []string{"triggerd_worker_applied_total", "triggerd_worker_oldest_unapplied_seconds", "triggerd_worker_lag_records",
		"triggerd_worker_emission_conflicts_total", "triggerd_worker_pending_redirects", "triggerd_worker_checkpoint_age_seconds",
		"triggerd_worker_redirected_total", "triggerd_worker_logged_records_total", "triggerd_worker_unaccounted_records", "triggerd_worker_untold_events",
		"triggerd_worker_rejected_total", "triggerd_worker_dead_letters_total", "triggerd_worker_halts_total"} {
		if n, err := testutil.GatherAndCount(reg, name); err != nil || n != 1 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}

// While a partition moves two workers have it, and sums over workers would count it twice. That it halted must stay visible.
func TestOnlyTheOwnerShowsGauges(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := New(Config{Path: "unused"}, Deps{Metrics: NewMetrics(reg)})
	p.deps.Metrics.attach(p)
	check := func(name string, want int) {
		t.Helper()
		if n, err := testutil.GatherAndCount(reg, "triggerd_worker_"+name); err != nil || n != want {
			t.Errorf("%s: %d series, %v, want %d", name, n, err, want)
		}
	}
	p.Follow()
	check("lag_records", 0)
	check("state", 0)
	check("halted", 0)
	check("standby_lag_messages", 1)
	p.enter(Halted, nil)
	check("lag_records", 0)
	check("halted", 1)
	p.Lead()
	check("lag_records", 1)
	check("applied_total", 1)
}

// The age of the oldest unapplied record grows while nothing moves, and is 0 when caught up.
func TestOldestUnapplied(t *testing.T) {
	var v view
	now := time.UnixMilli(1_000_000)
	check := func(want time.Duration, lag uint64) {
		t.Helper()
		f := v.read()
		if got := f.oldest(now); got != want || f.lag() != lag {
			t.Errorf("oldest is %s, lag %d, want %s and %d", got, f.lag(), want, lag)
		}
	}
	check(0, 0)
	v.seen(1, 990_000)
	v.seen(2, 995_000)
	check(10*time.Second, 2)
	now = now.Add(time.Minute)
	check(70*time.Second, 2)
	v.update(func(f *facts) { f.applied = 1 })
	check(65*time.Second, 1)
	v.update(func(f *facts) { f.applied = 2 })
	check(0, 0)
	v.update(func(f *facts) { f.last = 5 }) // known from a poll, time not read yet
	check(0, 3)
}
