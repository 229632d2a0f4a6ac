package ratelimit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

func ensure(t *testing.T, conn *nats.Conn) *broker.Broker {
	t.Helper()
	b, err := broker.Ensure(t.Context(), conn, broker.Settings{Partitions: 1,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 1 << 20, MaxPending: 10, OutcomesKeep: 3_600_000}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func watching(t *testing.T, b *broker.Broker, cfg Config) *Limiter {
	t.Helper()
	l, err := New(cfg, Deps{Broker: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// has waits until a limiter has a limit for an account; nil: none of its own.
func (l *Limiter) has(t *testing.T, account string, want *Limit) {
	t.Helper()
	natstest.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		got, ok := l.own[account]
		return ok == (want != nil) && (!ok || got == *want)
	}, "account %q has %v", account, want)
}

// hostile are names that tokens may have, and subjects may not.
var hostile = []string{"a.b", "*", ">", "a b", "ä/ö", strings.Repeat("x", 256), "$KV", "../..", "a=b"}

func TestChangesAreSeenByAll(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	b := ensure(t, srv.Connect())
	first, second := watching(t, b, Config{}), watching(t, b, Config{})
	for i, account := range hostile {
		limit := Limit{Rate: float64(i + 1), Burst: i}
		if err := Set(t.Context(), b, Entry{Account: account, Limit: limit, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		first.has(t, account, &limit)
		second.has(t, account, &limit)
	}
	late := watching(t, b, Config{})
	late.has(t, hostile[0], &Limit{Rate: 1})
	if entries, err := List(t.Context(), b); err != nil || len(entries) != len(hostile) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	for _, account := range hostile {
		if had, err := Remove(t.Context(), b, account); !had || err != nil {
			t.Errorf("remove: %v, %v", had, err)
		}
		if had, err := Remove(t.Context(), b, account); had || err != nil {
			t.Errorf("remove again: %v, %v", had, err)
		}
		first.has(t, account, nil)
		late.has(t, account, nil)
	}
	if entries, err := List(t.Context(), b); err != nil || len(entries) != 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

// What is known stays while the broker is away; what was changed meanwhile is known when it is back.
func TestBrokerThatIsAway(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	ops := ensure(t, srv.Connect())
	proxy := srv.Proxy()
	l := watching(t, ensure(t, srv.ConnectTo(proxy.URL())), Config{})
	limit := Limit{Rate: 7, Burst: 7}
	for _, account := range []string{"kept", "changed", "removed"} {
		if err := Set(t.Context(), ops, Entry{Account: account, Limit: limit}); err != nil {
			t.Fatal(err)
		}
		l.has(t, account, &limit)
	}
	proxy.Refuse(true)
	proxy.Cut()
	if err := Set(t.Context(), ops, Entry{Account: "changed", Limit: Limit{Rate: 8}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Remove(t.Context(), ops, "removed"); err != nil {
		t.Fatal(err)
	}
	l.has(t, "changed", &limit)
	l.has(t, "removed", &limit)
	proxy.Refuse(false)
	l.has(t, "changed", &Limit{Rate: 8})
	l.has(t, "removed", nil)
	l.has(t, "kept", &limit)
}

// A key that is gone without a word, as in a bucket that was made anew, is missed at the next list; one that cannot be read changes nothing.
func TestListsCorrectWhatWasMissed(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	b := ensure(t, srv.Connect())
	l := watching(t, b, Config{RelistEvery: 20 * time.Millisecond})
	limit := Limit{Rate: 7, Burst: 7}
	for _, account := range []string{"gone", "later"} {
		if err := Set(t.Context(), b, Entry{Account: account, Limit: limit}); err != nil {
			t.Fatal(err)
		}
		l.has(t, account, &limit)
	}
	stream, err := b.JS.Stream(t.Context(), "KV_"+broker.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	for subject, data := range map[string]string{key("later"): `{"version":2,"rate":"much"}`, "no=account": `{"version":1,"rate":1}`} {
		if _, err := b.JS.Publish(t.Context(), "$KV."+broker.BucketLimits+"."+subject, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Purge(t.Context(), purgeOf(key("gone"))); err != nil {
		t.Fatal(err)
	}
	l.has(t, "gone", nil)
	l.has(t, "later", &limit)
	entries, err := List(t.Context(), b)
	if err != nil || len(entries) != 2 || entries[0].Fault == nil || entries[1].Fault == nil {
		t.Errorf("entries %+v, %v", entries, err)
	}
}

func command(t *testing.T, url string, args ...string) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	environ := []string{"TRIGGERD_NATS_URL=" + url, "TRIGGERD_HTTP_ADDR=127.0.0.1:1"} // of the ingress beside
	code = Command(t.Context(), args, environ, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func TestCommand(t *testing.T) {
	srv := natstest.Start(t)
	b := ensure(t, srv.Connect())
	l := watching(t, b, Config{})
	for _, step := range []struct {
		args string
		code int
		want string
	}{
		{"list", 0, "no account has a limit of its own"},
		{"-account shop -rate 500 -burst 1000 -who ops -reason sale", 0, `account "shop": 500 a second, 1000 at once, over all ingresses`},
		{"set -account free -rate 0 -who ops", 0, `account "free": no limit`},
		{"list", 0, `"shop"   500 a second, 1000 at once`},
		{"list", 0, `"ops"  "sale"`},
		{"remove -account shop", 0, `account "shop" has the limit of -rate-limit again`},
		{"remove -account shop", 0, `account "shop" had no limit of its own`},
		{"-account shop", 2, "-rate is missing"},
		{"-rate 5", 2, "-account is missing"},
		{"-account shop -rate -5", 2, "rate is -5"},
		{"-account shop -rate 5 -burst -1", 2, "burst is -1"},
		{"list -account x", 2, "unknown flag -account"},
		{"-h", 0, "-rate second"},
	} {
		if code, out := command(t, srv.URL(), strings.Fields(step.args)...); code != step.code || !strings.Contains(out, step.want) {
			t.Errorf("limit %s: exit code %d, want %d, and %q in\n%s", step.args, code, step.code, step.want, out)
		}
	}
	l.has(t, "free", &Limit{})
	l.has(t, "shop", nil)
	empty := natstest.Start(t)
	if code, out := command(t, empty.URL(), "list"); code != 1 || !strings.Contains(out, "no deployment here") {
		t.Errorf("an empty broker: %d, %s", code, out)
	}
}

func purgeOf(key string) jetstream.StreamPurgeOpt {
	return jetstream.WithPurgeSubject("$KV." + broker.BucketLimits + "." + key)
}
