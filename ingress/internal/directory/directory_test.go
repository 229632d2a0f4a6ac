package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a real NATS with a deployment in it.
func start(t testing.TB) *natstest.Server {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	ensure(t, srv.Connect())
	return srv
}

func ensure(t testing.TB, conn *nats.Conn) *broker.Broker {
	t.Helper()
	settings := broker.Settings{
		Partitions: 1, TriggersMaxBytes: 1 << 20, EventsMaxBytes: 1 << 20,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3600000},
	}
	b, err := broker.Ensure(t.Context(), conn, settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ingress is one directory with a connection of its own, whose first list is complete.
func ingress(t testing.TB, srv *natstest.Server, cfg Config) *Directory {
	t.Helper()
	return over(t, srv.Connect(), cfg)
}

func over(t testing.TB, conn *nats.Conn, cfg Config) *Directory {
	t.Helper()
	d, err := New(cfg, Deps{Broker: ensure(t, conn)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	<-d.Listed()
	return d
}

// deaf is an ingress whose watch has stopped.
func deaf(t testing.TB, srv *natstest.Server, cfg Config) *Directory {
	t.Helper()
	d := ingress(t, srv, cfg)
	d.stopWatch()
	return d
}

func declare(t testing.TB, d *Directory, account, bot string, modules ...Module) {
	t.Helper()
	if err := d.Declare(t.Context(), account, bot, modules); err != nil {
		t.Fatalf("declare %s of %s: %v", bot, account, err)
	}
}

func wantBot(t testing.TB, d *Directory, account string, module int64, want string) {
	t.Helper()
	bot, ok, err := d.Bot(t.Context(), account, module)
	if err != nil || bot != want || ok != (want != "") {
		t.Fatalf("Bot(%s, %d) = %q, %v, %v; want %q", account, module, bot, ok, err, want)
	}
}

func TestDeclaredAtOneIsKnownAtOnceAtAnother(t *testing.T) {
	srv := start(t)
	one, other := ingress(t, srv, Config{}), deaf(t, srv, Config{})
	for i := range int64(100) {
		declare(t, one, "demo", "shop", Module{ID: i, Name: "Payment received"})
		wantBot(t, other, "demo", i, "shop")
	}
	wantBot(t, other, "demo", 1000, "")
	wantBot(t, other, "another account", 99, "")
}

// A read that was in flight when a Module was declared must not answer a question that was asked afterwards.
func TestSharedReadIsNotOlderThanTheQuestion(t *testing.T) {
	srv := start(t)
	one, other := ingress(t, srv, Config{}), deaf(t, srv, Config{ReadTimeout: 10 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	var noise sync.WaitGroup
	for range 4 {
		noise.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = other.Bot(ctx, "demo", -1)
			}
		})
	}
	for i := range int64(100) {
		declare(t, one, "demo", "shop", Module{ID: i})
		wantBot(t, other, "demo", i, "shop")
	}
	cancel()
	noise.Wait()
}

func TestCallersShareReads(t *testing.T) {
	srv := start(t)
	proxy := srv.Proxy()
	d := over(t, srv.ConnectTo(proxy.URL()), Config{ReadTimeout: natstest.Patience})
	proxy.Hold()
	var callers sync.WaitGroup
	for range 1000 {
		callers.Go(func() {
			if _, ok, err := d.Bot(t.Context(), "demo", 1); ok || err != nil {
				t.Errorf("Bot of an unknown module = %v, %v", ok, err)
			}
		})
	}
	natstest.Eventually(t, func() bool {
		d.reads.mu.Lock()
		defer d.reads.mu.Unlock()
		f := d.reads.flights["demo"]
		return f != nil && f.next != nil
	}, "a second read waits")
	proxy.Release()
	callers.Wait()
	// Callers that came after the release may have begun more reads, but by far not one each.
	if n := testutil.ToFloat64(d.metrics.reads.WithLabelValues("ok")); n > 500 {
		t.Errorf("1000 callers made %v reads", n)
	}
}

func TestModulesListsWhatTheLeaderHas(t *testing.T) {
	srv := start(t)
	one, other := ingress(t, srv, Config{}), deaf(t, srv, Config{})
	if _, ok, err := other.Modules(t.Context(), "demo", "shop"); ok || err != nil {
		t.Fatalf("Modules of an undeclared bot: %v, %v", ok, err)
	}
	declare(t, one, "demo", "shop", Module{3, "c"}, Module{1, "a"}, Module{2, "b"})
	declare(t, one, "demo", "empty")
	got, ok, err := other.Modules(t.Context(), "demo", "shop")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if diff := cmp.Diff([]Module{{1, "a"}, {2, "b"}, {3, "c"}}, got); diff != "" {
		t.Error(diff)
	}
	got, ok, err = other.Modules(t.Context(), "demo", "empty")
	if err != nil || !ok || len(got) != 0 {
		t.Errorf("bot without modules: %v, %v, %v", got, ok, err)
	}
}

func TestDeclareReplacesTheWholeSet(t *testing.T) {
	srv := start(t)
	d := deaf(t, srv, Config{})
	declare(t, d, "demo", "shop", Module{ID: 1}, Module{ID: 2})
	declare(t, d, "demo", "shop", Module{ID: 2}, Module{ID: 3})
	wantBot(t, d, "demo", 1, "")
	wantBot(t, d, "demo", 2, "shop")
	wantBot(t, d, "demo", 3, "shop")
	declare(t, d, "demo", "other bot", Module{ID: 1})
	wantBot(t, d, "demo", 1, "other bot")
}

func TestTakenIdChangesNothing(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{})
	declare(t, d, "demo", "shop", Module{ID: 1}, Module{ID: 2})
	declare(t, d, "demo", "forms", Module{ID: 7})
	err := d.Declare(t.Context(), "demo", "forms", []Module{{ID: 9}, {ID: 2}, {ID: 1}})
	var taken *TakenError
	if !errors.As(err, &taken) || *taken != (TakenError{ID: 1, Bot: "shop"}) || !errors.Is(err, ErrTaken) {
		t.Fatalf("err = %v", err)
	}
	wantBot(t, d, "demo", 7, "forms")
	wantBot(t, d, "demo", 9, "")
	declare(t, d, "other account", "forms", Module{ID: 1}) // ids are an account's own
}

func TestDeclareIsIdempotent(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{})
	declare(t, d, "demo", "shop", Module{ID: 1}, Module{ID: 2})
	before := d.copy.get("demo").revision
	declare(t, d, "demo", "shop", Module{ID: 2}, Module{ID: 1})
	if after := d.copy.get("demo").revision; after != before {
		t.Errorf("declaring the same set wrote revision %d after %d", after, before)
	}
}

func TestLimits(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{MaxModules: 3, MaxBots: 2, MaxValueBytes: 1000})
	declare(t, d, "full", "a", Module{ID: 1})
	declare(t, d, "full", "b")
	long := strings.Repeat("n", MaxNameBytes)
	for name, c := range map[string]struct {
		account, bot string
		modules      []Module
		want         error
	}{
		"most modules":       {"demo", "b", []Module{{ID: 1}, {ID: 2}, {ID: 3}}, nil},
		"too many modules":   {"demo", "b", []Module{{ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}}, &LimitError{"modules", 3}},
		"longest bot":        {"long", strings.Repeat("b", MaxBotBytes), nil, nil},
		"bot too long":       {"demo", strings.Repeat("b", MaxBotBytes+1), nil, &LimitError{"bot_id", MaxBotBytes}},
		"no bot":             {"demo", "", nil, &InvalidError{"bot_id", "is empty"}},
		"control in bot":     {"demo", "a\x00b", nil, &InvalidError{"bot_id", "has a control character"}},
		"bot not UTF-8":      {"demo", "a\xff", nil, &InvalidError{"bot_id", "is not UTF-8"}},
		"longest name":       {"name", "b", []Module{{1, long}}, nil},
		"name too long":      {"demo", "b", []Module{{1, long + "n"}}, &LimitError{"name", MaxNameBytes}},
		"control in name":    {"demo", "b", []Module{{1, "a\nb"}}, &InvalidError{"name", "has a control character"}},
		"id twice":           {"demo", "b", []Module{{1, "a"}, {2, ""}, {1, "b"}}, &InvalidError{"modules", "has the id 1 twice"}},
		"too many bots":      {"full", "c", nil, &LimitError{"bots", 2}},
		"known bot of many":  {"full", "b", []Module{{ID: 2}}, nil},
		"account's set":      {"value", "b", []Module{{1, long}, {2, long}, {3, long}}, nil},
		"account's set over": {"value", "c", []Module{{4, long}}, &LimitError{"account", 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "account's set over" {
				declare(t, d, "value", "b", Module{1, long}, Module{2, long}, Module{3, long})
			}
			err := d.Declare(t.Context(), c.account, c.bot, c.modules)
			if diff := cmp.Diff(c.want, err); diff != "" {
				t.Errorf("err = %v\n%s", err, diff)
			}
		})
	}
}

func TestCopyNeverGoesBack(t *testing.T) {
	r := newReplica()
	newer, older := index(map[string][]Module{"new": {{ID: 1}}}, 7), index(map[string][]Module{"old": {{ID: 1}}}, 6)
	if got := r.feed("demo", newer); got != newer {
		t.Error("newer not taken")
	}
	if got := r.feed("demo", older); got != newer {
		t.Error("feed of an older revision did not return the newer")
	}
	if bot, _ := r.bot("demo", 1); bot != "new" {
		t.Errorf("copy went back to %q", bot)
	}
	if r.feed("nobody", index(nil, 0)); r.get("nobody") != nil {
		t.Error("an account without a key takes room in the copy")
	}
}

// The bytes in the bucket and the keys outlive every build: a change makes declared Modules unreadable or invisible.
func TestGoldenValueAndKey(t *testing.T) {
	cat := index(map[string][]Module{
		"shop":  {{21890, "Waiting for payment"}, {1068935, `"<Paid>" & done`}},
		"empty": {},
	}, 1)
	got, err := cat.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"bots":{"empty":[],"shop":[{"id":21890,"name":"Waiting for payment"},{"id":1068935,"name":"\"<Paid>\" & done"}]}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	back, err := parse(got, 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cat, back, cmp.AllowUnexported(catalogue{})); diff != "" {
		t.Error(diff)
	}
	for account, want := range map[string]string{"demo": "ZGVtbw", "a.b *>": "YS5iICo-", "Zürich": "WsO8cmljaA"} {
		if got := key(account); got != want {
			t.Errorf("key(%q) = %q, want %q", account, got, want)
		}
	}
}

func TestUnknownVersionIsRefusedNotOverwritten(t *testing.T) {
	srv := start(t)
	d := ingress(t, srv, Config{})
	bucket, err := srv.JetStream().KeyValue(t.Context(), Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Put(t.Context(), key("demo"), []byte(`{"version":2,"sets":[]}`)); err != nil {
		t.Fatal(err)
	}
	if err := d.Declare(t.Context(), "demo", "shop", nil); !errors.Is(err, errUnreadable) {
		t.Errorf("Declare over a newer format: %v", err)
	}
	if _, _, err := d.Bot(t.Context(), "demo", 1); !errors.Is(err, errUnreadable) {
		t.Errorf("Bot in a newer format: %v", err)
	}
}

func TestMetricsAreSound(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	if err := newMetrics(newReplica()).register(reg); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestNegativeSettingsAreRefused(t *testing.T) {
	err := Config{MaxBots: -1, RelistEvery: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "max bots") || !strings.Contains(err.Error(), "relist every") {
		t.Errorf("err = %v", err)
	}
}

func BenchmarkBotHit(b *testing.B) {
	r := newReplica()
	for a := range 1000 {
		r.feed(fmt.Sprint("account-", a), index(map[string][]Module{"shop": {{ID: 1}, {ID: 2}}}, 1))
	}
	d := &Directory{copy: r}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok, _ := d.Bot(context.Background(), "account-77", 2); !ok {
				b.Fail()
			}
		}
	})
}
