package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/shared/record"
)

// run drives a fake until it has had that many requests, and audits. The ledger that it kept is returned as well.
func run(t *testing.T, f *fake, requests int, change func(*Config)) (*Report, string) {
	t.Helper()
	cfg := Config{URL: f.URL, Token: "t", Users: 12, Connections: 3, Batch: 1, Duration: time.Minute, Timeout: 10 * time.Second, Quiet: true,
		Ledger: filepath.Join(t.TempDir(), "ledger")}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	session, err := Prepare(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", session.seed)
	ctx, cancel := context.WithCancel(t.Context())
	fail := f.fail
	f.fail = func(n int, w http.ResponseWriter) bool {
		if n >= requests {
			cancel()
		}
		return fail != nil && fail(n, w)
	}
	session.Drive(ctx)
	f.fail = nil
	if err := errors.Join(session.Close(), session.Audit(t.Context())); err != nil {
		t.Fatal(err)
	}
	return session.Report(), cfg.Ledger
}

func verify(t *testing.T, ledger string, outcomes bool) *Verdict {
	t.Helper()
	v, err := Verify(t.Context(), VerifyConfig{Ledger: ledger, Token: "t", Outcomes: outcomes})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Whatever the shape of the load and whatever goes wrong on the way: if all promises are kept, the audit at once and the one from the ledger say so, and
// count the same.
func TestKeptPromisesAreProven(t *testing.T) {
	cut := func(n int, w http.ResponseWriter) bool { // now and then an answer is lost, or refused
		switch {
		case n%17 == 0:
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
			return true
		case n%13 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"x","message":null,"code":"unavailable"}`)
			return true
		}
		return false
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		fail   func(int, http.ResponseWriter) bool
		blind  bool
	}{
		{name: "closed loop"},
		{name: "open loop", change: func(c *Config) { c.Rate = 5000 }},
		{name: "bursts", change: func(c *Config) { c.Burst, c.Every = 20, 5*time.Millisecond }},
		{name: "hot users", change: func(c *Config) { c.Skew = Skew{80, 30} }},
		{name: "batches", change: func(c *Config) { c.Batch = 4 }},
		{name: "repeats", change: func(c *Config) { c.Repeats = 50 }},
		{name: "repeats under ids of their own", change: func(c *Config) { c.Repeats = 50 }, blind: true},
		{name: "repeats of batches", change: func(c *Config) { c.Repeats, c.Batch = 50, 4 }},
		{name: "repeats of batches under ids of their own", change: func(c *Config) { c.Repeats, c.Batch = 50, 4 }, blind: true},
		{name: "values", change: func(c *Config) { c.Vars, c.ValueBytes = 3, 1000 }},
		{name: "answers are lost", fail: cut, change: func(c *Config) { c.Users = 1000 }},
		{name: "answers are lost, with keys", fail: cut, change: func(c *Config) { c.Keys = true }},
		{name: "everything", fail: cut, blind: true, change: func(c *Config) { c.Keys, c.Repeats, c.Skew, c.Rate = true, 20, Skew{50, 30}, 5000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.fail, f.blind = c.fail, c.blind
			r, ledger := run(t, f, 300, c.change)
			if len(r.Broken) > 0 || r.totals.Accepted == 0 || !r.audit.done {
				t.Fatalf("%d accepted, broken: %v", r.totals.Accepted, r.Broken)
			}
			if r.Config.Repeats > 0 && r.totals.Repeats == 0 {
				t.Error("nothing was repeated")
			}
			v := verify(t, ledger, true)
			if v.Result != "kept" || !v.Complete || v.Outcomes == 0 {
				t.Errorf("%+v", v)
			}
			got := Totals{v.Accepted, v.Repeats, v.Refused, v.Unknown}
			if diff := cmp.Diff(r.totals, got); diff != "" {
				t.Errorf("the ledger tells of another run (-live +ledger):\n%s", diff)
			}
			if c.fail != nil && r.Config.Keys && r.Unknown == 0 {
				t.Error("no answer was lost")
			}
			if most := map[bool]int{false: 0, true: r.Config.Connections}[c.fail != nil]; (c.fail == nil || r.Config.Keys) && r.totals.Unknown > uint64(most) {
				t.Errorf("%d outcomes stayed unknown, more than were under way at the end", r.totals.Unknown)
			}
		})
	}
}

// The audit is worth what it catches: at once, from the ledger, and with the right name.
func TestBrokenPromisesAreNamed(t *testing.T) {
	once := func(nth uint64, do func(*fakeTrigger)) func(*fake, uint64, *fakeTrigger) {
		return func(_ *fake, n uint64, tr *fakeTrigger) {
			if n == nth {
				do(tr)
			}
		}
	}
	for _, c := range []struct {
		name     string
		want     Promise
		outcomes bool // what only they show
		sabotage func(*fake)
	}{
		{"an accepted trigger is dropped", Durable, false, func(f *fake) {
			f.sabotage = once(100, func(tr *fakeTrigger) { tr.times = 0 })
		}},
		{"the last accepted ones are dropped", Durable, false, func(f *fake) {
			f.sabotage = func(_ *fake, n uint64, tr *fakeTrigger) {
				if n >= 200 {
					tr.times = 0
				}
			}
		}},
		{"a trigger is applied twice", Once, false, func(f *fake) {
			f.sabotage = once(100, func(tr *fakeTrigger) { tr.times = 2 })
		}},
		{"two change places", Ordered, false, func(f *fake) {
			f.sabotage = func(_ *fake, n uint64, tr *fakeTrigger) { tr.early = n >= 200 }
		}},
		{"ids fall", Ordered, false, func(f *fake) {
			f.sabotage = func(f *fake, n uint64, tr *fakeTrigger) {
				if n == 100 {
					f.seq = 0
				}
			}
		}},
		{"a repeat is answered with another id", Replays, false, func(f *fake) {
			f.replay = func(id record.ID) record.ID { id.Seq++; return id }
		}},
		{"a repeat is applied", Once, false, func(f *fake) {
			f.sabotage = func(f *fake, n uint64, _ *fakeTrigger) { clear(f.keys) }
		}},
		{"one is lost and another one of its user doubled, long ago", Once, true, func(f *fake) {
			last := map[string]int{}
			f.sabotage = func(f *fake, n uint64, tr *fakeTrigger) {
				last[tr.user]++
				tr.times = map[int]int{2: 0, 3: 2}[last[tr.user]]
				if last[tr.user] != 2 && last[tr.user] != 3 || !strings.HasSuffix(tr.user, "05") {
					tr.times = 1
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			c.sabotage(f)
			r, ledger := run(t, f, 600, func(cfg *Config) { cfg.Repeats = 20 })
			v := verify(t, ledger, c.outcomes)
			has := func(list []Breach) bool {
				return slices.ContainsFunc(list, func(b Breach) bool { return b.Promise == c.want })
			}
			if !c.outcomes && !has(r.Broken) {
				t.Errorf("at once: %v", r.Broken)
			}
			if !has(v.Breaches) || v.Result != "broken" || !strings.Contains(v.Statement, string(c.want)) {
				t.Errorf("from the ledger: %s, %v", v.Statement, v.Breaches)
			}
			var text strings.Builder
			err := PrintVerdict(t.Context(), VerifyConfig{Ledger: ledger, Token: "t", Outcomes: c.outcomes}, &text)
			if ExitCode(err) != 1 || !strings.Contains(text.String(), "BROKEN    "+string(c.want)) {
				t.Errorf("exit code %d\n%s", ExitCode(err), text.String())
			}
			if c.outcomes {
				if v := verify(t, ledger, false); len(v.Breaches) > 0 || !strings.Contains(v.Statement, "would not show") {
					t.Errorf("without outcomes: %s %v", v.Statement, v.Breaches)
				}
			}
		})
	}
}

// A trigger that is rejected with a reason after it was accepted is not lost.
func TestRejectedIsNotLost(t *testing.T) {
	f := newFake(t)
	f.sabotage = func(_ *fake, n uint64, tr *fakeTrigger) {
		if n == 298 {
			tr.times, tr.outcome = 0, "rejected"
		}
	}
	_, ledger := run(t, f, 300, nil)
	if v := verify(t, ledger, false); v.Result != "kept" || v.Rejected != 1 || v.Lost != 0 {
		t.Errorf("%+v", v)
	}
}

// What could not be audited is neither kept nor broken.
func TestWhatCannotBeAuditedIsToldApart(t *testing.T) {
	f := newFake(t)
	_, ledger := run(t, f, 50, nil)
	text, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, slices.Concat(text[:len(text)/2], []byte("\nnonsense\n"), text[len(text)/2:]), 0o600); err != nil {
		t.Fatal(err)
	}
	f.foreign = true
	clear(f.users)
	if _, err := Verify(t.Context(), VerifyConfig{Ledger: ledger, Token: "t"}); ExitCode(err) != exitNotAudited || !strings.Contains(err.Error(), "another deployment") {
		t.Errorf("another deployment: exit code %d, %v", ExitCode(err), err)
	}
	f.foreign = false
	if v := verify(t, ledger, false); v.Result != "broken" || v.Lost != v.Accepted {
		t.Errorf("all users are gone: %+v", v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		ledger string
	}{
		"no server": {ctx, ledger}, "damaged ledger": {t.Context(), bad}, "no ledger": {t.Context(), bad + "x"},
	} {
		if _, err := Verify(c.ctx, VerifyConfig{Ledger: c.ledger, Token: "t"}); ExitCode(err) != exitNotAudited {
			t.Errorf("%s: exit code %d, %v", name, ExitCode(err), err)
		}
	}
}

// What is in the ledger at any moment is enough: whatever is in the state by then was written down before it was sent. So a loadgen that is killed leaves a
// proof behind; what was under way may be in the state or not.
func TestLedgerOfAKilledLoadgenIsAProof(t *testing.T) {
	for n := 5; n < 200; n += 13 {
		f := newFake(t)
		f.blind = n%2 == 0
		var text []byte
		name := filepath.Join(t.TempDir(), "ledger")
		f.fail = func(at int, w http.ResponseWriter) bool {
			if at == n {
				var err error
				if text, err = os.ReadFile(name); err != nil {
					t.Error(err)
				}
			}
			if at > n { // nothing more gets in
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return at > n
		}
		run(t, f, n+10, func(c *Config) { c.Repeats, c.Keys, c.Ledger = 30, n%3 == 0, name })
		killed := filepath.Join(t.TempDir(), "killed")
		if err := os.WriteFile(killed, append(text, "+ 1"...), 0o600); err != nil { // and in the middle of a line
			t.Fatal(err)
		}
		v := verify(t, killed, true)
		if v.Result != "kept" || v.Complete || !strings.Contains(v.Statement, "cut off") || v.Surfaced == 0 {
			t.Errorf("killed at request %d: %s %+v", n, v.Statement, v)
		}
	}
}

// Two audits of one ledger sign the same totals; whoever changes one changes the signature.
func TestSignature(t *testing.T) {
	f := newFake(t)
	_, ledger := run(t, f, 50, nil)
	v := verify(t, ledger, false)
	for _, want := range []string{"result=kept", "run=" + v.Run, "ledger=sha256:" + v.Ledger, fmt.Sprintf("accepted=%d applied=%d lost=0", v.Accepted, v.Accepted)} {
		if !strings.Contains(v.Signature, want) {
			t.Errorf("%q is not in %s", want, v.Signature)
		}
	}
	sum := v.Signature[strings.LastIndex(v.Signature, "sum="):]
	v.Lost++
	if strings.HasSuffix(v.sign(), sum) {
		t.Error("other totals have the same sum")
	}
}

// A ledger is a proof: it is never written over.
func TestLedgerIsNotOverwritten(t *testing.T) {
	f := newFake(t)
	_, ledger := run(t, f, 10, nil)
	cfg := Config{URL: f.URL, Token: "t", Users: 3, Connections: 3, Batch: 1, Duration: time.Second, Timeout: time.Second, Ledger: ledger, Quiet: true}
	if _, err := Prepare(t.Context(), cfg); !errors.Is(err, os.ErrExist) {
		t.Errorf("%v", err)
	}
}
