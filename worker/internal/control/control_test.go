package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const partitions = 3

func connect(t *testing.T, srv *natstest.Server, url string) *broker.Broker {
	t.Helper()
	b, err := broker.Ensure(t.Context(), srv.ConnectTo(url), broker.Settings{Partitions: partitions, Limits: record.Limits{Machine: 1,
		MaxUserBytes: 1 << 19, MaxPending: 1000, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func setUp(t *testing.T) (*natstest.Server, *broker.Broker) {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	return srv, connect(t, srv, srv.URL())
}

// follow runs Orders until the test ends.
func follow(t *testing.T, b *broker.Broker, cfg Config) *Orders {
	t.Helper()
	o := New(cfg, Deps{Broker: b})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { o.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return o
}

func until(t *testing.T, cond func() bool, what string) {
	t.Helper()
	natstest.Eventually(t, cond, "%s", what)
}

func pause(t *testing.T, b *broker.Broker, p int) {
	t.Helper()
	if err := Pause(t.Context(), b, p, "ann", "disk is being replaced"); err != nil {
		t.Fatal(err)
	}
}

func resume(t *testing.T, b *broker.Broker, p int) {
	t.Helper()
	if err := Resume(t.Context(), b, p, "bob", ""); err != nil {
		t.Fatal(err)
	}
}

func report(t *testing.T, b *broker.Broker, seq uint64, e End) Suspect {
	t.Helper()
	s, err := Report(t.Context(), b, 1, seq, e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whoever follows hears of a pause and a resume, and so does whoever comes later or asks once.
func TestPauseAndResumeReachEverybody(t *testing.T) {
	_, b := setUp(t)
	early := follow(t, b, Config{})
	until(t, early.Known, "the bucket is listed")
	pause(t, b, 1)
	late := follow(t, b, Config{})
	for _, o := range []*Orders{early, late} {
		until(t, func() bool { return o.Of(1).Paused() }, "it is paused")
		if text := o.Of(1).PausedBy(); !strings.Contains(text, "ann") || !strings.Contains(text, "disk is being replaced") {
			t.Errorf("it says %q", text)
		}
		if o.Of(0).Paused() || o.Of(2).Paused() {
			t.Error("others are paused")
		}
	}
	paused := early.Of(1).Revision
	resume(t, b, 1)
	until(t, func() bool { return !early.Of(1).Paused() && early.Of(1).Revision > paused }, "it is resumed, by a later word")
	order, err := Read(t.Context(), b, 1)
	if err != nil || order.Paused() || order.Revision != early.Of(1).Revision || order.Word.Who != "bob" {
		t.Errorf("read %+v, %v", order, err)
	}
	resume(t, b, 1)
	until(t, func() bool { return early.Of(1).Revision > order.Revision }, "a second resume is a word of its own")
}

// While the broker is away what was known goes on to hold; what was said meanwhile is heard afterwards.
func TestOrdersOutlastTheBroker(t *testing.T) {
	srv, b := setUp(t)
	px := srv.Proxy()
	o := follow(t, connect(t, srv, px.URL()), Config{})
	pause(t, b, 1)
	until(t, func() bool { return o.Of(1).Paused() }, "it is paused")
	px.Refuse(true)
	px.Cut()
	resume(t, b, 1)
	pause(t, b, 2)
	if !o.Of(1).Paused() {
		t.Error("a pause was forgotten")
	}
	px.Refuse(false)
	until(t, func() bool { return !o.Of(1).Paused() && o.Of(2).Paused() }, "what was said meanwhile holds")
	srv.Kill()
	srv.Boot()
	pause(t, b, 0)
	until(t, func() bool { return o.Of(0).Paused() && o.Of(2).Paused() && !o.Of(1).Paused() }, "it goes on after the broker was killed")
}

// What a watch has missed comes with the next list.
func TestListsMakeUpForWhatIsMissed(t *testing.T) {
	_, b := setUp(t)
	o := follow(t, b, Config{RelistEvery: 20 * time.Millisecond})
	pause(t, b, 1)
	until(t, func() bool { return o.Of(1).Paused() }, "it is paused")
	o.mu.Lock()
	o.board.entries[pauseKey(1)] = entry{} // as if it had never come
	o.show(pauseKey(1))
	o.mu.Unlock()
	if o.Of(1).Paused() {
		t.Fatal("the test is wrong")
	}
	until(t, func() bool { return o.Of(1).Paused() }, "the next list says it")
}

func TestBoard(t *testing.T) {
	var b board
	value := []byte("x")
	if !b.take("a", entry{5, value}) || b.take("a", entry{4, nil}) || b.take("a", entry{5, nil}) {
		t.Error("an older entry was taken, or a newer one was not")
	}
	if got := b.replace(map[string]entry{"a": {3, nil}}); got != nil {
		t.Errorf("a list that is older changed %v", got)
	}
	if got := b.replace(map[string]entry{"a": {3, nil}}); fmt.Sprint(got) != "[a]" || b.entries["a"].value != nil {
		t.Errorf("the same list again changed %v", got)
	}
	if got := b.replace(map[string]entry{"a": {3, nil}, "b": {7, value}}); fmt.Sprint(got) != "[b]" {
		t.Errorf("a new key changed %v", got)
	}
	if got := b.replace(map[string]entry{"b": {7, value}, "c": {8, value}}); len(got) != 2 || len(b.entries) != 2 {
		t.Errorf("a key that is gone and a new one changed %v", got)
	}
}

// Before a partition is started the leader is asked, so that a watch that lags does not count.
func TestAwaitAsksTheLeader(t *testing.T) {
	srv, b := setUp(t)
	px := srv.Proxy()
	o := New(Config{Timeout: 50 * time.Millisecond}, Deps{Broker: connect(t, srv, px.URL())}) // nobody runs it: its watch lags for ever
	pause(t, b, 1)
	order, err := o.Await(t.Context(), 1)
	if err != nil || !order.Paused() {
		t.Fatalf("%+v, %v", order, err)
	}
	report(t, b, 9, End{Home: "a", Run: "1", Kind: KindCrash})
	report(t, b, 9, End{Home: "b", Run: "2", Kind: KindCrash})
	if order, err = o.Await(t.Context(), 1); err != nil || len(order.Suspects) != 1 {
		t.Fatalf("%+v, %v", order, err)
	}
	resume(t, b, 1)
	if order, err = o.Await(t.Context(), 1); err != nil || order.Paused() || len(order.Suspects) != 0 {
		t.Fatalf("after a resume %+v, %v", order, err)
	}
	px.Refuse(true)
	px.Cut()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := o.Await(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("without a broker: %v", err)
	}
}

// Whoever waits to start a partition is let go when a pause is over, although nobody else has looked at the pause.
func TestAwaitStart(t *testing.T) {
	_, b := setUp(t)
	o := follow(t, b, Config{})
	o.AwaitStart(t.Context(), 0)
	pause(t, b, 0)
	started := make(chan struct{})
	go func() { defer close(started); o.AwaitStart(t.Context(), 0) }()
	until(t, func() bool { return o.Of(0).Paused() }, "it is heard of the pause")
	select {
	case <-started:
		t.Error("what is paused was let start")
	default:
	}
	resume(t, b, 0)
	select {
	case <-started:
	case <-time.After(natstest.Patience):
		t.Error("what is resumed was not let start")
	}
	pause(t, b, 0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); o.AwaitStart(ctx, 0) }()
	cancel()
	<-ended
}

func TestGuilt(t *testing.T) {
	crash := func(home, run string) End { return End{Home: home, Run: run, Kind: KindCrash} }
	killed := func(home, run string) End { return End{Home: home, Run: run, Kind: KindKilled} }
	for name, c := range map[string]struct {
		reports []End
		guilty  bool
	}{
		"nothing":                      {nil, false},
		"one crash":                    {[]End{crash("a", "1")}, false},
		"one kill":                     {[]End{killed("a", "1")}, false},
		"two crashes of two homes":     {[]End{crash("a", "1"), crash("b", "2")}, true},
		"two crashes of one home":      {[]End{crash("a", "1"), crash("a", "2")}, true},
		"two kills of one home":        {[]End{killed("a", "1"), killed("a", "2")}, true},
		"a crash and a kill of a home": {[]End{crash("a", "1"), killed("a", "2")}, true},
		"kills of three homes":         {[]End{killed("a", "1"), killed("b", "2"), killed("c", "3")}, false},
		"a crash here, a kill there":   {[]End{crash("a", "1"), killed("b", "2")}, false},
		"that and a crash elsewhere":   {[]End{crash("a", "1"), killed("b", "2"), crash("c", "3")}, true},
	} {
		if got := (Suspect{Reports: c.reports}).Guilty(); got != c.guilty {
			t.Errorf("%s: guilty is %v", name, got)
		}
	}
}

// Reports of one position add up, a repeated one does not, and only an innocent position is acquitted.
func TestReports(t *testing.T) {
	_, b := setUp(t)
	o := follow(t, b, Config{})
	one := End{Home: "a", Run: "1", Kind: KindCrash, At: time.Unix(1, 0).UTC(), Text: "fatal error: stack overflow"}
	for range 3 { // the acknowledgement was lost
		if s := report(t, b, 10, one); s.Guilty() || len(s.Reports) != 1 {
			t.Fatalf("%+v", s)
		}
	}
	until(t, func() bool { s, ok := o.Of(1).Suspect(10); return ok && len(s.Reports) == 1 }, "the suspect is heard of")
	report(t, b, 4, End{Home: "a", Run: "0", Kind: KindKilled})
	if s := report(t, b, 10, End{Home: "b", Run: "2", Kind: KindCrash}); !s.Guilty() || !strings.Contains(s.String(), "message 10") || !strings.Contains(s.String(), "stack overflow") {
		t.Errorf("%+v", s)
	}
	for _, seq := range []uint64{4, 10, 77} {
		if err := Acquit(t.Context(), b, 1, seq); err != nil {
			t.Fatal(err)
		}
	}
	order, err := Read(t.Context(), b, 1)
	if s, ok := order.Quarantined(); err != nil || !ok || s.Seq != 10 || len(order.Suspects) != 1 {
		t.Errorf("%+v, %v", order, err)
	}
	until(t, func() bool { _, ok := o.Of(1).Quarantined(); return ok }, "the quarantine is heard of")
	resume(t, b, 1)
	until(t, func() bool { return len(o.Of(1).Suspects) == 0 && o.Of(1).Revision != 0 }, "a resume clears it")
}

// Workers that find the same at once lose nothing; what nobody needs makes room.
func TestReportsAtOnce(t *testing.T) {
	_, b := setUp(t)
	var wg sync.WaitGroup
	for i := range MaxReports {
		wg.Go(func() {
			report(t, b, 5, End{Home: fmt.Sprint(i), Run: fmt.Sprint(i), Kind: KindKilled, At: time.Unix(1000, 0)})
		})
	}
	wg.Wait()
	for i := range MaxSuspects + 3 {
		report(t, b, uint64(100+i), End{Home: "a", Run: fmt.Sprint(i), Kind: KindCrash, At: time.Unix(int64(i), 0)})
	}
	order, err := Read(t.Context(), b, 1)
	if err != nil || len(order.Suspects) != MaxSuspects {
		t.Fatalf("%d suspects, %v", len(order.Suspects), err)
	}
	if s, ok := order.Suspect(5); !ok || len(s.Reports) != MaxReports {
		t.Errorf("of %d reports at once are left %+v", MaxReports, s)
	}
	if _, ok := order.Suspect(100 + MaxSuspects + 2); !ok {
		t.Error("the last report is not kept")
	}
}

// A pause that cannot be read counts as one, suspects that cannot be read do not stop anybody, and neither is lost on others.
func TestWhatCannotBeRead(t *testing.T) {
	_, b := setUp(t)
	o := follow(t, b, Config{})
	kv, err := b.JS.KeyValue(t.Context(), broker.BucketControl)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"pause.0": "{", "pause.1": `{"version":2,"paused":false}`, "crash.2": "[]", "pause.x": "{}", "pause.99": "{}", "x": ""} {
		if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return o.Of(0).Paused() && o.Of(1).Paused() }, "it counts as paused")
	if text := o.Of(1).PausedBy(); !strings.Contains(text, "newer triggerd") {
		t.Errorf("it says %q", text)
	}
	if o.Of(2).Paused() || len(o.Of(2).Suspects) != 0 {
		t.Errorf("%+v", o.Of(2))
	}
	if s, err := Report(t.Context(), b, 2, 3, End{Home: "a", Run: "1", Kind: KindCrash}); err != nil || len(s.Reports) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	resume(t, b, 0)
	until(t, func() bool { return !o.Of(0).Paused() }, "a resume mends it")
}

func TestTextsAreBounded(t *testing.T) {
	_, b := setUp(t)
	if err := Pause(t.Context(), b, 0, "ann", strings.Repeat("ö", MaxText)); err != nil {
		t.Fatal(err)
	}
	order, err := Read(t.Context(), b, 0)
	if err != nil || len(order.Word.Reason) > MaxText || !strings.HasSuffix(order.Word.Reason, "ö") {
		t.Errorf("%d bytes, %v", len(order.Word.Reason), err)
	}
}

// The bytes are read by other builds: they must not change.
func TestGolden(t *testing.T) {
	at := time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)
	for want, v := range map[string]any{
		`{"version":1,"paused":true,"who":"ann","reason":"r","at":"2026-11-25T01:02:03Z"}`: Word{Version: 1, Paused: true, Who: "ann", Reason: "r", At: at},
		`{"version":1,"suspects":[{"seq":7,"reports":[{"home":"h","run":"x","kind":"crash","at":"2026-11-25T01:02:03Z","text":"t"}]}]}`: suspects{1,
			[]Suspect{{7, []End{{"h", "x", "crash", at, "t"}}}}},
	} {
		if got := string(encode(v)); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	if pauseKey(7) != "pause.7" || crashKey(7) != "crash.7" {
		t.Error("a key has another name")
	}
}
