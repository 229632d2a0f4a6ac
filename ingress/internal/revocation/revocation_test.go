package revocation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

func revoke(t *testing.T, b *broker.Broker, jti string, until time.Time) {
	t.Helper()
	if err := Revoke(t.Context(), b, Revocation{TokenID: jti, Until: until, Who: "ann", Reason: "lost"}); err != nil {
		t.Fatal(err)
	}
}

func undo(t *testing.T, b *broker.Broker, jti string) (was bool) {
	t.Helper()
	was, err := Undo(t.Context(), b, jti)
	if err != nil {
		t.Fatal(err)
	}
	return was
}

// comesTo waits until all sets say the same of a token.
func comesTo(t *testing.T, jti string, want bool, sets ...*Set) {
	t.Helper()
	for _, s := range sets {
		natstest.Eventually(t, func() bool { return s.Revoked(Of(jti), time.Now()) == want }, "%.40q is revoked: %v", jti, want)
	}
}

// Every set hears of a revocation and of its undoing; one that comes later knows at once.
func TestRevokeAndUndoReachEverybody(t *testing.T) {
	_, b := setUp(t)
	one, two := newSet(t, b, Config{}, io.Discard), newSet(t, b, Config{}, io.Discard)
	revoke(t, b, "a", time.Now().Add(time.Hour))
	revoke(t, b, "b", time.Time{})
	comesTo(t, "a", true, one, two)
	comesTo(t, "b", true, one, two)
	late := newSet(t, b, Config{}, io.Discard)
	if now := time.Now(); !late.Revoked(Of("a"), now) || !late.Revoked(Of("b"), now) || late.Revoked(Of("c"), now) {
		t.Error("a set that was listed does not know")
	}
	if !undo(t, b, "a") || undo(t, b, "a") || undo(t, b, "never") {
		t.Error("undoing says the wrong thing of what it did")
	}
	comesTo(t, "a", false, one, two, late)
	revoke(t, b, "a", time.Time{})
	comesTo(t, "a", true, one, two, late)
	if one.Revoked(Of("c"), time.Now()) || one.Revoked(Of("A"), time.Now()) {
		t.Error("others are revoked")
	}
}

// A jti is any text; none of them is a strange key, and no two are one.
func TestHostileNames(t *testing.T) {
	_, b := setUp(t)
	s := newSet(t, b, Config{}, io.Discard)
	names := []string{">", "*", "a.b", ".", "..", "../../x", "$KV.MODULES.a", " ", "\x00", "a\r\nNats-Rollup: all", "\u00e9", "e\u0301", strings.Repeat("x", MaxTokenID), "{}", `"`}
	for _, name := range names {
		revoke(t, b, name, time.Time{})
	}
	for _, name := range names {
		comesTo(t, name, true, s)
	}
	list, err := List(t.Context(), b)
	if err != nil || len(list) != len(names) || s.known.size() != len(names) {
		t.Errorf("%d names are %d revocations, %d known, %v", len(names), len(list), s.known.size(), err)
	}
	for _, name := range []string{"", strings.Repeat("x", MaxTokenID+1), "\xff"} {
		if err := Revoke(t.Context(), b, Revocation{TokenID: name}); err == nil {
			t.Errorf("%.20q can be revoked", name)
		}
		if _, err := Undo(t.Context(), b, name); err == nil {
			t.Errorf("%.20q can be undone", name)
		}
	}
}

// A revocation ends a little after it said that it would, in the set and in the bucket. What would have ended already, or in a thousand years, is
// not an error of the broker.
func TestRevocationsEnd(t *testing.T) {
	_, b := setUp(t)
	s := newSet(t, b, Config{RelistEvery: 50 * time.Millisecond}, io.Discard)
	now := time.Now()
	soon := now.Add(time.Hour)
	revoke(t, b, "soon", soon)
	revoke(t, b, "late", now.AddDate(1000, 0, 0))
	comesTo(t, "soon", true, s)
	comesTo(t, "late", true, s)
	if !s.Revoked(Of("soon"), soon.Add(margin-time.Second)) || s.Revoked(Of("soon"), soon.Add(margin+time.Second)) {
		t.Error("it does not end when it should")
	}
	if err := Revoke(t.Context(), b, Revocation{TokenID: "over", Until: now.Add(-margin)}); !errors.Is(err, ErrOver) {
		t.Errorf("over: %v", err)
	}
	revoke(t, b, "ending", now.Add(-margin+1500*time.Millisecond)) // for a second
	revoke(t, b, "replaced", now.Add(-margin+1500*time.Millisecond))
	revoke(t, b, "replaced", time.Time{})
	natstest.Eventually(t, func() bool {
		list, err := List(t.Context(), b)
		return err == nil && len(list) == 3
	}, "the bucket forgets what has ended")
	natstest.Eventually(t, func() bool { return s.known.size() == 3 }, "and so does the set")
	comesTo(t, "replaced", true, s)
}

// What a watch has missed, be it a revocation or an undoing, comes with the next lists.
func TestListsMakeUpForWhatIsMissed(t *testing.T) {
	_, b := setUp(t)
	s := newSet(t, b, Config{RelistEvery: 20 * time.Millisecond}, io.Discard)
	revoke(t, b, "a", time.Time{})
	comesTo(t, "a", true, s)
	s.known.remove(Of("a"), 1<<60) // as if it had never come
	s.known.add(Of("gone"), time.Time{}, 1)
	comesTo(t, "a", true, s)
	comesTo(t, "gone", false, s)
}

// One list that lacks something may be that of a copy that is behind; two are not.
func TestOneListForgetsNothing(t *testing.T) {
	k := known{limit: 10}
	now := time.Now()
	list := func(ids ...string) {
		k.begin()
		for _, id := range ids {
			k.add(Of(id), time.Time{}, 5)
		}
		k.complete(now)
	}
	list("a", "b")
	list("a")
	if !k.revoked(Of("a"), now) || !k.revoked(Of("b"), now) {
		t.Error("one list made it forget")
	}
	k.add(Of("c"), time.Time{}, 9) // news
	list("a")
	if !k.revoked(Of("a"), now) || k.revoked(Of("b"), now) || !k.revoked(Of("c"), now) {
		t.Error("the second list was not believed, or was believed too early")
	}
	k.add(Of("a"), now.Add(-time.Hour), 4)
	k.remove(Of("a"), 5)
	if !k.revoked(Of("a"), now) {
		t.Error("something older than known was believed")
	}
	if k.remove(Of("a"), 6); k.revoked(Of("a"), now) {
		t.Error("an undoing was not believed")
	}
}

// While the broker is away the last known set holds, readiness says why it may be old, and what was said meanwhile is heard afterwards.
func TestSetOutlastsTheBroker(t *testing.T) {
	srv, b := setUp(t)
	px := srv.Proxy()
	s := newSet(t, connect(t, srv, px.URL()), Config{ListTimeout: 200 * time.Millisecond, RelistEvery: 50 * time.Millisecond}, io.Discard)
	revoke(t, b, "a", time.Time{})
	comesTo(t, "a", true, s)
	px.Refuse(true)
	px.Cut()
	revoke(t, b, "b", time.Time{})
	undo(t, b, "a")
	natstest.Eventually(t, func() bool { detail, _ := s.Ready(); return strings.Contains(detail, "later ones are not") }, "it says that it may be old")
	if detail, err := s.Ready(); err != nil || !strings.HasPrefix(detail, "1 revoked tokens known") {
		t.Errorf("away: %q, %v", detail, err)
	}
	if now := time.Now(); !s.Revoked(Of("a"), now) || s.Revoked(Of("b"), now) {
		t.Error("away: the last known set does not hold")
	}
	px.Refuse(false)
	comesTo(t, "b", true, s)
	comesTo(t, "a", false, s)
	natstest.Eventually(t, func() bool { detail, _ := s.Ready(); return !strings.Contains(detail, "later ones") }, "the trouble is over")
	srv.Kill()
	srv.Boot()
	natstest.Eventually(t, func() bool { return Revoke(t.Context(), b, Revocation{TokenID: "c"}) == nil }, "the broker is back")
	comesTo(t, "c", true, s)
	comesTo(t, "b", true, s)
}

// Before the bucket was listed nobody may rely on the set.
func TestNotListedIsNotReady(t *testing.T) {
	srv, b := setUp(t)
	px := srv.Proxy()
	away := connect(t, srv, px.URL())
	px.Refuse(true)
	px.Cut()
	s, err := New(Config{ListTimeout: 50 * time.Millisecond}, Deps{Broker: away})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Ready(); !errors.Is(err, errNotListed) {
		t.Errorf("ready: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Await(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("await: %v", err)
	}
	revoke(t, b, "a", time.Time{})
	px.Refuse(false)
	if err := s.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ready(); err != nil || !s.Revoked(Of("a"), time.Now()) {
		t.Errorf("listed: %v", err)
	}
}

// lines is a writer that hands on what is written to it.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// A value that cannot be read revokes its token, whose key says which it is; a key that is no token harms nobody.
func TestStrangeEntries(t *testing.T) {
	_, b := setUp(t)
	said := make(lines, 100)
	s := newSet(t, b, Config{}, said)
	for key, value := range map[string]string{
		Of("broken").key(): "{", Of("later").key(): `{"version":2,"until":"2001-01-01T00:00:00Z"}`, Of("empty").key(): "", "short": "{}", "a.b": "{}",
	} {
		if err := b.KVPut(t.Context(), Bucket, key, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, jti := range []string{"broken", "later", "empty"} {
		comesTo(t, jti, true, s)
	}
	for range 5 {
		if line := <-said; !strings.Contains(line, "cannot be read") && !strings.Contains(line, "is no token") {
			t.Errorf("log says %q", line)
		}
	}
	list, err := List(t.Context(), b)
	if err != nil || len(list) != 5 {
		t.Errorf("list %v, %v", list, err)
	}
}

// The set holds no more than its limit, and says so; the bucket has the same one, and refuses before.
func TestBounds(t *testing.T) {
	srv, b := setUp(t)
	said := make(lines, 100)
	s := newSet(t, b, Config{MaxKeys: 3}, said)
	for n := range 5 {
		revoke(t, b, fmt.Sprint(n), time.Time{})
	}
	if line := <-said; !strings.Contains(line, "more tokens are revoked than are held here") {
		t.Errorf("log says %q", line)
	}
	natstest.Eventually(t, func() bool { return s.known.tooMany() == 2 && s.known.size() == 3 }, "two are too many")
	if detail, err := s.Ready(); err != nil || !strings.Contains(detail, "STILL PASS") {
		t.Errorf("%q, %v", detail, err)
	}
	if revoke(t, b, "0", time.Time{}); !s.Revoked(Of("0"), time.Now()) { // a known one is not too many
		t.Error("a known one was forgotten")
	}
	js := srv.JetStream()
	stream, err := js.Stream(t.Context(), "KV_"+Bucket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgs = 5
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := Revoke(t.Context(), b, Revocation{TokenID: "more"}); !errors.Is(err, ErrFull) {
		t.Errorf("a full bucket: %v", err)
	}
	revoke(t, b, "1", time.Now().Add(time.Hour)) // one that is there may be replaced
}

// The largest value is not larger than what the bucket's bytes are reckoned for, whatever is in it.
func TestValuesAreSmall(t *testing.T) {
	r := Revocation{TokenID: strings.Repeat("\x01", MaxTokenID), Who: strings.Repeat("ä", 1000), Reason: strings.Repeat("\x01", 10_000), Until: time.Now(), At: time.Now()}
	data, err := r.encode()
	if err != nil || len(data) > 4<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if v, err := parse(data); err != nil || v.TokenID != r.TokenID || len(v.Who) != maxText {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestMetrics(t *testing.T) {
	_, b := setUp(t)
	reg := prometheus.NewRegistry()
	s, err := New(Config{}, Deps{Broker: b, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	revoke(t, b, "a", time.Time{})
	comesTo(t, "a", true, s)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	names, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range names {
		got = append(got, family.GetName())
		if family.GetName() == "triggerd_ingress_revocations" && family.GetMetric()[0].GetGauge().GetValue() != 1 {
			t.Error("the size is wrong")
		}
	}
	// Alerts are written against these names.
	if want := "triggerd_ingress_revocations triggerd_ingress_revocations_list_age_seconds triggerd_ingress_revocations_lists_total " +
		"triggerd_ingress_revocations_surplus triggerd_ingress_revocations_watch_failures_total"; strings.Join(got, " ") != want {
		t.Errorf("metrics %v", got)
	}
	if _, err := New(Config{}, Deps{Broker: b, Registerer: reg}); err == nil {
		t.Error("the same names twice: taken")
	}
}

// A revoked token costs what any other does.
func BenchmarkRevoked(b *testing.B) {
	k := known{limit: broker.RevokedMaxKeys}
	for n := range broker.RevokedMaxKeys {
		k.add(Of(fmt.Sprint(n)), time.Time{}, 1)
	}
	id, now := Of("none"), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if k.revoked(id, now) {
			b.Fatal("revoked")
		}
	}
}
