package ratelimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by hand.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

// some is a number of ingresses.
type some int

func (s *some) Count() int { return int(*s) }

func limiter(t testing.TB, cfg Config, ingresses *some) (*Limiter, *clock) {
	t.Helper()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	deps := Deps{Now: func() time.Time { return c.now }}
	if ingresses != nil {
		deps.Peers = ingresses
	}
	l, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

func (l *Limiter) want(t *testing.T, account string, n, taken int) Grant {
	t.Helper()
	g := l.Take(account, n)
	if g.Taken != taken {
		t.Errorf("%s: %d of %d taken, want %d", account, g.Taken, n, taken)
	}
	return g
}

func TestRateAndBurst(t *testing.T) {
	l, c := limiter(t, Config{Default: Limit{Rate: 10, Burst: 5}}, nil)
	for range 5 {
		l.want(t, "a", 1, 1)
	}
	g := l.want(t, "a", 1, 0)
	if g.Wait != 100*time.Millisecond || g.RetryAfter() != "1" {
		t.Errorf("wait %v, retry after %s", g.Wait, g.RetryAfter())
	}
	l.want(t, "b", 1, 1) // another account is another matter
	c.pass(100 * time.Millisecond)
	l.want(t, "a", 2, 1)
	c.pass(time.Hour)
	l.want(t, "a", 9, 5) // what was not used is not saved up beyond the burst
	c.pass(-time.Hour)   // a clock that is set back brings nothing, and takes nothing
	l.want(t, "a", 1, 0)
}

func TestNoLimit(t *testing.T) {
	l, _ := limiter(t, Config{}, nil)
	if g := l.want(t, "a", 1000, 1000); g.Limited() {
		t.Errorf("grant %+v", g)
	}
	if own, counted := l.count(); own+counted != 0 {
		t.Errorf("%d and %d kept", own, counted)
	}
}

// A limit is divided by the ingresses, and never comes to nothing.
func TestDivided(t *testing.T) {
	n := some(4)
	l, c := limiter(t, Config{Default: Limit{Rate: 8, Burst: 8}}, &n)
	l.want(t, "a", 8, 2)
	c.pass(time.Second)
	l.want(t, "a", 8, 2)
	n = 1 // at once
	c.pass(time.Second)
	l.want(t, "a", 10, 8)
	n = 100
	c.pass(13 * time.Second) // 8/100 a second
	g := l.want(t, "a", 2, 1)
	if g.Limit.Burst != 8 || g.Policy() != `"account";q=8;w=1` {
		t.Errorf("the policy is the deployment's: %s", g.Policy())
	}
}

// The values are those of draft-ietf-httpapi-ratelimit-headers-10; clients parse them.
func TestHeaders(t *testing.T) {
	l, c := limiter(t, Config{Default: Limit{Rate: 0.5, Burst: 3}}, nil)
	for _, want := range []string{`"account";r=2;t=6`, `"account";r=1;t=6`, `"account";r=0;t=2`, `"account";r=0;t=2`} {
		g := l.Take("a", 1)
		if g.Policy() != `"account";q=3;w=6` || g.State() != want {
			t.Errorf("policy %s, state %s, want %s", g.Policy(), g.State(), want)
		}
	}
	c.pass(500 * time.Millisecond)
	g := l.Take("a", 1)
	if g.State() != `"account";r=0;t=2` || g.RetryAfter() != "2" { // rounded up: 1.5 s
		t.Errorf("state %s, retry after %s", g.State(), g.RetryAfter())
	}
	slow, _ := limiter(t, Config{Default: Limit{Rate: 1e-300}}, nil)
	slow.want(t, "a", 1, 1)
	if g := slow.want(t, "a", 1, 0); g.RetryAfter() != "86400" || g.Policy() != `"account";q=1;w=86400` {
		t.Errorf("retry after %s, policy %s", g.RetryAfter(), g.Policy())
	}
}

// Whatever comes in whatever rhythm: in no stretch of time more is taken than burst + rate × time, and the one who asks again after Wait gets one.
func TestNeverMoreThanTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := Limit{Rate: rapid.Float64Range(0.01, 10_000).Draw(t, "rate"), Burst: rapid.IntRange(1, 1000).Draw(t, "burst")}
		c := &clock{now: time.Unix(1_800_000_000, 0)}
		l, err := New(Config{Default: limit}, Deps{Now: func() time.Time { return c.now }})
		if err != nil {
			t.Fatal(err)
		}
		begun, taken := c.now, 0
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			c.pass(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause")))
			g := l.Take("a", rapid.IntRange(1, 1500).Draw(t, "n"))
			taken += g.Taken
			if most := float64(limit.Burst) + limit.Rate*c.now.Sub(begun).Seconds(); float64(taken) > most+1e-6*most {
				t.Fatalf("%d taken, at most %g", taken, most)
			}
			if g.Left == 0 {
				c.pass(g.Wait + time.Microsecond)
				if again := l.Take("a", 1); again.Taken != 1 {
					t.Fatalf("none after %v", g.Wait)
				}
				taken++
			}
		}
	})
}

// As many accounts are kept as there may be; those that are full again make place, and nobody loses what counts against it.
func TestMemoryIsBounded(t *testing.T) {
	l, c := limiter(t, Config{Default: Limit{Rate: 1, Burst: 2}, MaxAccounts: 100}, nil)
	l.want(t, "busy", 2, 2)
	for i := range 10_000 {
		l.Take(fmt.Sprint("account", i), 1)
		if _, counted := l.count(); counted > 100 {
			t.Fatalf("%d counted", counted)
		}
	}
	if n := testutil.ToFloat64(l.metrics.untracked); n == 0 {
		t.Error("nobody is said to have passed")
	}
	l.want(t, "busy", 1, 0)
	for i := range 10_000 { // one a second: each is full again after one
		c.pass(time.Second)
		l.want(t, fmt.Sprint("later", i), 2, 2)
		l.want(t, fmt.Sprint("later", i), 1, 0) // so it is counted
	}
}

// Buckets that are full are forgotten, those that are not are not.
func TestForgetsOnlyWhatIsFull(t *testing.T) {
	l, c := limiter(t, Config{Default: Limit{Rate: 1, Burst: 1000}}, nil)
	l.want(t, "busy", 1000, 1000)
	for i := range 1000 {
		l.Take(fmt.Sprint("once", i), 1)
	}
	c.pass(10 * time.Second)
	for i := range 1000 {
		l.Take(fmt.Sprint("again", i), 1)
	}
	if _, counted := l.count(); counted > 1100 {
		t.Errorf("%d are counted of 1001", counted)
	}
	l.want(t, "busy", 1000, 10)
}

func TestAccountsLimitOfItsOwn(t *testing.T) {
	l, _ := limiter(t, Config{}, nil)
	l.change(func() { l.own["a"] = Limit{Rate: 1} })
	l.want(t, "a", 3, 2) // two seconds' worth
	l.want(t, "b", 1000, 1000)
	l.change(func() { l.own["a"] = Limit{Rate: 1, Burst: 1} }) // narrower, at once
	l.want(t, "a", 1, 0)
	l.change(func() { delete(l.own, "a") })
	l.want(t, "a", 1000, 1000)

	l, _ = limiter(t, Config{Default: Limit{Rate: 1, Burst: 1}}, nil)
	l.change(func() { l.own["a"] = Limit{} })
	l.want(t, "a", 1000, 1000)
	l.want(t, "b", 2, 1)
}

// The words are labels: dashboards are written against them. An account that is over its limit has its class as well.
func TestClasses(t *testing.T) {
	l, _ := limiter(t, Config{Default: Limit{Rate: 1, Burst: 1}, MaxAccounts: 2}, nil)
	l.change(func() { l.own["freed"], l.own["own"] = Limit{}, Limit{Rate: 2} })
	for _, c := range []struct{ account, want string }{
		{"freed", "unlimited"}, {"own", "own"}, {"other", "usual"}, {"other", "usual"}, {"uncounted", "usual"},
	} {
		if got := l.Take(c.account, 1).Class.String(); got != c.want {
			t.Errorf("%s is %s, want %s", c.account, got, c.want)
		}
	}
	l, _ = limiter(t, Config{}, nil)
	if got := l.Take("anybody", 1).Class; got != Unlimited {
		t.Errorf("without limits somebody is %s", got)
	}
}

func TestLimitsAreValidated(t *testing.T) {
	for _, bad := range []Limit{{Rate: -1}, {Rate: math.NaN()}, {Rate: math.Inf(1)}, {Rate: 1, Burst: -1}, {Rate: MaxRate * 2}, {Rate: 1, Burst: MaxBurst + 1}} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
		if _, err := New(Config{Default: bad}, Deps{}); err == nil {
			t.Errorf("a limiter with %+v", bad)
		}
	}
	for _, data := range []string{"", "{", "7", `{"version":2,"rate":1}`, `{"version":1,"rate":-1}`, `{"version":1,"rate":1e400}`, `{"version":1,"rate":"1"}`} {
		if _, err := parse([]byte(data)); err == nil {
			t.Errorf("%q is taken", data)
		}
	}
}

func TestRefusalsAreCountedAndSaidOnce(t *testing.T) {
	var out bytes.Buffer
	l, err := New(Config{Default: Limit{Rate: 1, Burst: 1}}, Deps{Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		l.Take("evil\nlevel=ERROR", 10)
	}
	if n := testutil.ToFloat64(l.metrics.refused); n < 9_990 {
		t.Errorf("%g refused", n)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), `account="evil\nlevel=ERROR"`) {
		t.Errorf("log: %s", out.String())
	}
}

// The names are a promise: dashboards and alerts are written against them.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := New(Config{}, Deps{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, strings.TrimPrefix(f.GetName(), "triggerd_ingress_rate_"))
	}
	if got := strings.Join(names, " "); got != "accounts limited_total list_age_seconds overrides untracked_total watch_failures_total" {
		t.Errorf("metrics %s", got)
	}
	if _, err := New(Config{}, Deps{Registerer: reg}); err == nil {
		t.Error("registered twice without an error")
	}
}

func BenchmarkTake(b *testing.B) {
	for name, cfg := range map[string]Config{"off": {}, "on": {Default: Limit{Rate: MaxRate}}} {
		b.Run(name, func(b *testing.B) {
			l, _ := limiter(b, cfg, nil)
			l.deps.Now = time.Now
			b.ReportAllocs()
			for b.Loop() {
				l.Take("account", 1)
			}
		})
	}
}
