package standalone_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/deploy/loadgen"
	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/broker"
)

// How the kill test loads. There are many users, because one with an unknown outcome gets no further trigger.
const (
	killUsers       = 4000
	killConnections = 24
	killRounds      = 6
	killRoundsShort = 2
	killAfterLeast  = 30 * time.Millisecond // of load, before the process is killed …
	killAfterMost   = 600 * time.Millisecond
)

// A process that is killed at any moment under load has, at its next start, every trigger that it accepted, once, in order; and
// EVENTS-p has the event of each once. Every third time the process is asked to stop instead.
func TestKilledAtAnyMomentNothingAcceptedIsMissing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	p := spawn(t, flags(dir)...)
	session := prepareLoad(t, dir, p.http)
	rounds := killRounds
	if testing.Short() {
		rounds = killRoundsShort
	}
	for round := range rounds {
		end := p.kill
		if round%3 == 2 {
			end = func() {
				if code := p.terminate(); code != 0 {
					t.Errorf("exit code %d", code)
				}
			}
		}
		loadUntil(t, session, killAfterLeast+time.Duration(random.Int64N(int64(killAfterMost-killAfterLeast))), end)
		p = spawn(t, flags(dir, "-http-addr", p.http)...)
	}
	loadUntil(t, session, killAfterMost, p.kill)

	in := launch(t, dir, "-http-addr", p.http, "-nats-addr", "127.0.0.1:0")
	if err := session.Audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	report := session.Report()
	var text strings.Builder
	report.Print(&text)
	t.Log("\n" + text.String())
	if len(report.Broken) > 0 || report.Accepted == 0 {
		t.Errorf("%d promises broken, %d accepted", len(report.Broken), report.Accepted)
	}
	if events := checkEvents(t, in.Addrs().NATS); events != report.InState() {
		t.Errorf("%d events for %d triggers in the state", events, report.InState())
	}
}

func prepareLoad(t *testing.T, dir, addr string) *loadgen.Session {
	t.Helper()
	token, err := ingress.IssueToken(ingress.KeysIn(filepath.Join(dir, "keys")).Signing, "load", "trigger runtime", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	session, err := loadgen.Prepare(t.Context(), loadgen.Config{URL: "http://" + addr, Token: token, Users: killUsers,
		Connections: killConnections, Duration: time.Minute, Timeout: 10 * time.Second, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// loadUntil drives until the time is over, and then has the process ended while the load goes on.
func loadUntil(t *testing.T, session *loadgen.Session, after time.Duration, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	driven := make(chan struct{})
	go func() { defer close(driven); session.Drive(ctx) }()
	<-time.After(after)
	end()
	cancel()
	<-driven
}

// event is what the test reads of a CloudEvent.
type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// checkEvents reads all of EVENTS-p: no event twice, none left out of the count. It returns how many there are.
func checkEvents(t *testing.T, url string) (count uint64) {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for p := range 2 {
		count += checkPartitionEvents(t, js, p)
	}
	return count
}

func checkPartitionEvents(t *testing.T, js jetstream.JetStream, p int) (count uint64) {
	t.Helper()
	stream, err := js.Stream(t.Context(), broker.EventsStream(p))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatalf("%s, message %d: %v", broker.EventsStream(p), seq, err)
		}
		if first := msg.Header.Get("Triggerd-First-Event"); first != strconv.FormatUint(count+1, 10) {
			t.Errorf("%s, message %d begins with event %s after %d", broker.EventsStream(p), seq, first, count)
		}
		var events []event
		if err := json.Unmarshal(msg.Data, &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if seen[e.ID] || e.Type != "triggerd.conversation.redirected" {
				t.Errorf("%s, message %d: event %s of type %s, twice: %t", broker.EventsStream(p), seq, e.ID, e.Type, seen[e.ID])
			}
			seen[e.ID] = true
			count++
		}
	}
	return count
}
