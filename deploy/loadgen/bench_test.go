package loadgen

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trivial answers whatever it reads with the next id, and does nothing else.
func trivial(tb testing.TB) (addr string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			peer, err := listener.Accept()
			if err != nil {
				return
			}
			answerAll(peer)
		}
	}()
	tb.Cleanup(func() { listener.Close(); <-served })
	return listener.Addr().String()
}

func answerAll(peer net.Conn) {
	defer peer.Close()
	in, out := make([]byte, 64<<10), []byte(nil)
	for id := uint64(1); ; id++ {
		if _, err := peer.Read(in); err != nil {
			return
		}
		out = append(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nContent-Length: 71\r\n\r\n"...)
		out = append(out, `{"message":"1","error":[],"trigger_id":"0-`...)
		out = strconv.AppendUint(out, 100_000_000+id, 10)
		out = append(out, `-0","redirect":true}`...)
		if _, err := peer.Write(out); err != nil {
			return
		}
	}
}

// driver is a connection of a session that was not prepared: a trivial server has no users.
func driver(tb testing.TB, addr string, change func(*Config)) *sender {
	tb.Helper()
	cfg := Config{URL: "http://" + addr, Token: strings.Repeat("t", 380), Users: 1000, Connections: 1, Batch: 1, Timeout: 10 * time.Second, Duration: time.Minute}
	if change != nil {
		change(&cfg)
	}
	r, err := newRun(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.openLedger(); err != nil {
		tb.Fatal(err)
	}
	s := r.sender(0, &schedule{})
	s.random = rand.New(rand.NewPCG(1, 2))
	tb.Cleanup(func() {
		s.conn.close()
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// one sends one trigger and notes everything that is to be noted about it.
func (s *sender) one(tb testing.TB) {
	if !s.fill() {
		tb.Fatal("no users")
	}
	s.due = time.Now()
	s.deliver(context.Background())
}

// What the generator costs shows beside a client of net/http that notes nothing at all, and beside writing and reading alone.
func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"loadgen", nil},
		{"loadgen, keys", func(c *Config) { c.Keys = true }},
		{"loadgen, ledger", func(c *Config) { c.Ledger = filepath.Join(b.TempDir(), strconv.FormatUint(rand.Uint64(), 36)) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := driver(b, trivial(b), c.change)
			s.one(b)
			b.ReportAllocs()
			for b.Loop() {
				s.one(b)
			}
		})
	}
	b.Run("bare connection", func(b *testing.B) { benchmarkBare(b, trivial(b)) })
	b.Run("net-http", func(b *testing.B) { benchmarkHTTP(b, trivial(b)) })
}

func benchmarkBare(b *testing.B, addr string) {
	r := newRequest(strings.Repeat("t", 380), "load-abcdefgh", 0, 0, false)
	text := r.render(addr, []item{{1, 1, false}})
	peer, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	in := make([]byte, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := peer.Write(text); err != nil {
			b.Fatal(err)
		}
		if _, err := peer.Read(in); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkHTTP(b *testing.B, addr string) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/actionsvc/trigger-response/",
			strings.NewReader(`{"user_id":"load-abcdefgh-00000001","module_id":1,"is_async":true,"custom_vars":{"seq":1000000001}}`))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "JWT "+strings.Repeat("t", 380))
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

// The generator shares its processors, and its collector, with the servers that are measured.
func TestTriggerAllocatesNothing(t *testing.T) {
	s := driver(t, trivial(t), func(c *Config) { c.Users, c.Keys, c.Ledger = 10, true, filepath.Join(t.TempDir(), "ledger") })
	for range 10 * keptChanges {
		s.one(t)
	}
	if n := testing.AllocsPerRun(200, func() { s.one(t) }); n >= 1 {
		t.Errorf("%g allocations", n)
	}
	if s.tally.accepted < 300 || len(s.session.history.breaches) > 0 {
		t.Errorf("%d accepted, %v", s.tally.accepted, s.session.history.breaches)
	}
}
