package standalone_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/process"
)

// What loadgen writes down while the process under it is killed is proof enough for somebody who comes later and has nothing but the ledger, the public port,
// and, if need be, the events.
func TestLedgerIsVerifiedAfterKills(t *testing.T) {
	dir := t.TempDir()
	p := spawn(t, flags(dir)...)
	key := ingress.KeysIn(filepath.Join(dir, "keys")).Signing
	token, err := ingress.IssueToken(key, "load", "trigger runtime", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ledger := filepath.Join(dir, "ledger")
	cfg := loadgen.Config{URL: "http://" + p.http, Token: token, Users: killUsers, Connections: killConnections, Batch: 1, Rate: 3000, Skew: loadgen.Skew{Calls: 50, Users: 10},
		Duration: time.Minute, Timeout: 10 * time.Second, Ledger: ledger, Quiet: true}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	session, err := loadgen.Prepare(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	driven := make(chan struct{})
	go func() { defer close(driven); session.Drive(ctx) }()
	for range 2 {
		accepts(t, session, 500)
		p.kill()
		p = spawn(t, flags(dir, "-http-addr", p.http)...)
	}
	accepts(t, session, 500)
	p.kill()
	cancel()
	<-driven
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}

	in := launch(t, dir, "-http-addr", "127.0.0.1:0", "-nats-addr", "127.0.0.1:0")
	var text strings.Builder
	audit := loadgen.VerifyConfig{Ledger: ledger, URL: "http://" + in.Addrs().HTTP, SigningKey: key, Account: "load", Outcomes: true,
		NATS: process.Remote{URL: in.Addrs().NATS}}
	if err := loadgen.PrintVerdict(t.Context(), audit, &text); err != nil {
		t.Errorf("%v\n%s", err, text.String())
	}
	v, err := loadgen.Verify(t.Context(), audit)
	if err != nil || v.Result != "kept" || v.Accepted < 1500 || v.Outcomes != v.Accepted || v.Events != v.Accepted {
		t.Errorf("%v, %+v", err, v)
	}
	t.Log("\n" + text.String())
}

// accepts waits until that many more triggers have been accepted.
func accepts(t *testing.T, session *loadgen.Session, more uint64) {
	t.Helper()
	goal, late := session.Accepted()+more, patience()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for session.Accepted() < goal {
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("%d accepted, want %d", session.Accepted(), goal)
		}
	}
}
