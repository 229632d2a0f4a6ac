package ingress_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/natstest"
)

// patient is longer than any test, so that nothing but what a test does decides.
const patient = time.Minute

// stalling is an ingress whose broker is behind a proxy, and that never gives up.
type stalling struct {
	t     *testing.T
	in    *ingress.Ingress
	proxy *natstest.Proxy
	reg   *prometheus.Registry
	token string
	other string // of another account
	ended chan error
	stop  context.CancelFunc
}

func startStalling(t *testing.T, change func(*ingress.Config)) *stalling {
	t.Helper()
	s := &stalling{t: t, reg: prometheus.NewRegistry(), ended: make(chan error, 1)}
	srv := natstest.Start(t, natstest.Lazy())
	s.proxy = srv.Proxy()
	cfg, deps := setupOn(t, srv.ConnectTo(s.proxy.URL()))
	cfg.AppendTimeout, cfg.StallAfter, cfg.CheckTimeout, cfg.Limits.DrainTimeout = patient, patient, time.Millisecond, patient
	deps.Registerer = s.reg
	if change != nil {
		change(&cfg)
	}
	s.token, s.other = s.tokenOf(cfg, "demo"), s.tokenOf(cfg, "other")
	var err error
	if s.in, err = ingress.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() { s.ended <- s.in.Run(ctx) }()
	natstest.Eventually(t, func() bool { _, ready := deps.Health.Statuses(); return ready }, "it serves: it knows which tokens are revoked")
	return s
}

func (s *stalling) tokenOf(cfg ingress.Config, account string) string {
	s.t.Helper()
	token, err := ingress.IssueToken(ingress.KeysIn(filepath.Dir(cfg.KeysFile)).Signing, account, "trigger", time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// end stops it and waits.
func (s *stalling) end() {
	s.t.Helper()
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Errorf("drain: %v", err)
	}
}

func (s *stalling) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.in.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patient))
	return conn
}

// trigger is the bytes of a request.
func trigger(token, user string) string {
	body := fmt.Sprintf(`{"user_id":%q,"module_id":null}`, user)
	return fmt.Sprintf("POST /actionsvc/trigger-response/ HTTP/1.1\r\nHost: x\r\nAuthorization: JWT %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)
}

// send sends a trigger on a connection of its own, and hands the answer's status on.
func (s *stalling) send(user string, statuses chan<- int) {
	conn := s.dial()
	go func() {
		defer conn.Close()
		io.WriteString(conn, trigger(s.token, user))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			statuses <- 0
			return
		}
		resp.Body.Close()
		statuses <- resp.StatusCode
	}()
}

// flows waits until a trigger is accepted: an ingress has some things to read first.
func (s *stalling) flows(user string) {
	s.t.Helper()
	statuses := make(chan int, 1)
	natstest.Eventually(s.t, func() bool { s.send(user, statuses); return <-statuses == http.StatusOK }, "triggers are accepted")
}

// value sums up a metric's values; of a histogram it is how many were observed.
func (s *stalling) value(name string) (sum float64) {
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// While the log does not answer, what fits waits and the rest is refused at once; as soon as it answers everything flows, without a restart.
func TestOverload(t *testing.T) {
	s := startStalling(t, func(c *ingress.Config) { c.QueueRecords = 8 })
	defer s.end()
	const user = "alice" // so that all are of one partition
	first, rest := make(chan int, 1), make(chan int, 20)
	s.flows(user)
	before := s.value("triggerd_ingress_append_batch_records")
	s.proxy.Hold()
	s.send(user, first)
	natstest.Eventually(t, func() bool { return s.value("triggerd_ingress_append_batch_records") == before+1 }, "the first one is in flight")
	for range cap(rest) {
		s.send(user, rest)
	}
	const waiting = 4 // half of the queue: it is one account
	for i := range cap(rest) - waiting {
		if status := <-rest; status != http.StatusServiceUnavailable {
			t.Errorf("answer %d while nothing flows: %d", i, status)
		}
	}
	s.proxy.Release()
	for range waiting {
		if status := <-rest; status != http.StatusOK {
			t.Errorf("one that waited: %d", status)
		}
	}
	s.send(user, first)
	for range 2 {
		if status := <-first; status != http.StatusOK {
			t.Errorf("the first one and the last: %d", status)
		}
	}
}

// While another account waits for the log, one that floods has a few at work, and the rest waits for its turn, for as long as it is told to.
func TestFloodWaitsForItsTurn(t *testing.T) {
	s := startStalling(t, func(c *ingress.Config) { c.Limits.Turns, c.Limits.TurnTimeout = 2, 10*time.Second })
	defer s.end()
	s.flows("alice")
	before := s.value("triggerd_ingress_append_batch_records")
	s.proxy.Hold()
	quiet := s.dial()
	defer quiet.Close()
	io.WriteString(quiet, trigger(s.other, "alice"))
	natstest.Eventually(t, func() bool { return s.value("triggerd_ingress_append_batch_records") == before+1 }, "the quiet one is in flight")
	statuses := make(chan int, 6)
	for range cap(statuses) {
		s.send("alice", statuses)
	}
	natstest.Eventually(t, func() bool { return s.value("triggerd_ingress_requests_waiting") == 4 }, "two are at work, and four wait")
	s.proxy.Release()
	for range cap(statuses) {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("one of the flood: %d", status)
		}
	}
	if resp, err := http.ReadResponse(bufio.NewReader(quiet), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the quiet one: %v, %v", resp, err)
	}
}

// What is in hand is answered although the port is closed already, and its connection ends with that; idle ones end at once, and nobody new comes in.
func TestDrainKeepsItsPromises(t *testing.T) {
	s := startStalling(t, nil)
	s.flows("alice")
	busy, idle := s.dial(), s.dial()
	defer busy.Close()
	defer idle.Close()
	io.WriteString(idle, trigger(s.token, "bob"))
	if resp, err := http.ReadResponse(bufio.NewReader(idle), nil); err != nil || resp.StatusCode != http.StatusOK || resp.Close {
		t.Fatal(resp, err)
	}
	before := s.value("triggerd_ingress_append_batch_records")
	s.proxy.Hold()
	io.WriteString(busy, trigger(s.token, "alice"))
	natstest.Eventually(t, func() bool { return s.value("triggerd_ingress_append_batch_records") == before+1 }, "it is in flight")
	s.stop()
	if _, err := io.ReadAll(idle); err != nil { // to its end
		t.Errorf("idle connection: %v", err)
	}
	natstest.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", s.in.Addr())
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, "nobody new comes in")
	s.proxy.Release()
	answer, err := io.ReadAll(busy)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.Contains(string(answer), "Connection: close") {
		t.Errorf("the one in hand: %.300q, %v", answer, err)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// Two ingresses share what an account may send, and one that stops leaves its part to the other.
func TestIngressesShareTheLimit(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	cfg, deps := setupOn(t, srv.Connect())
	cfg.Limits.Rate, cfg.Limits.Burst = 1e-3, 100
	regs := []*stalling{{t: t, reg: prometheus.NewRegistry()}, {t: t, reg: prometheus.NewRegistry()}}
	var stops []func()
	for _, r := range regs {
		deps.Registerer = r.reg
		in, err := ingress.New(cfg, deps)
		if err != nil {
			t.Fatal(err)
		}
		r.in = in
		stops = append(stops, run(t, in))
	}
	peers := func(r *stalling, n float64) {
		natstest.Eventually(t, func() bool { return r.value("triggerd_ingress_peers") == n }, "%g live ingresses", n)
	}
	peers(regs[0], 2)
	peers(regs[1], 2)
	left := func(account string) (header string) {
		regs[0].token = regs[0].tokenOf(cfg, account)
		natstest.Eventually(t, func() bool { // what is answered before the token is looked at costs nothing
			conn := regs[0].dial()
			defer conn.Close()
			io.WriteString(conn, trigger(regs[0].token, "alice"))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			header = resp.Header.Get("RateLimit")
			return header != ""
		}, "answer says what is left")
		return header
	}
	if got := left("a"); !strings.Contains(got, ";r=49;") {
		t.Errorf("one of two: %s", got)
	}
	stops[1]()
	peers(regs[0], 1)
	if got := left("b"); !strings.Contains(got, ";r=99;") {
		t.Errorf("one alone: %s", got)
	}
	stops[0]()
}
