// Package natstest runs the real thing for tests: an embedded nats-server with JetStream on disk, synced as in
// production, and a TCP proxy that hurts the connections to it.
//
// # Usage
//
//	srv := natstest.Start(t)
//	nc := srv.Connect()            // over TCP; closed when the test ends
//	srv.Restart()                  // clean stop, same directory, same address
//	srv.Kill(); srv.Boot()         // as after kill -9
//	px := srv.Proxy()              // srv.ConnectTo(px.URL())
//
//	c := natstest.StartCluster(t)  // three processes; TestMain calls natstest.BeServer()
//	c.Leader(js, "S").Kill()       // kill -9
//
// # Failure
//
// What cannot be set up fails the test at once. The server's log is kept in memory and shown only if the test failed.
//
// # Concurrency
//
// Server and Proxy are safe for concurrent use, except that Stop, Kill, Boot and Restart exclude each other by contract.
package natstest

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of a test's server. Patience is how long anything here waits before it fails the test.
const (
	Patience  = 90 * time.Second
	maxStore  = 1 << 40 // only counted against reservations, never allocated
	maxMemory = 64 << 20
)

// Option changes how Start runs the server.
type Option func(*Server)

// Lazy turns sync_interval: always off, for tests in which durability plays no part and speed does.
func Lazy() Option { return func(s *Server) { s.lazy = true } }

// Closed keeps to itself how the server syncs, as one that belongs to somebody else does.
func Closed() Option { return func(s *Server) { s.closed = true } }

// Dir uses dir instead of a temporary directory.
func Dir(dir string) Option { return func(s *Server) { s.dir = dir } }

// MaxStore limits what all streams together may reserve, in bytes. Default 1 TiB.
func MaxStore(bytes int64) Option { return func(s *Server) { s.maxStore = bytes } }

// Tune changes the server's options just before every start.
func Tune(f func(*server.Options)) Option { return func(s *Server) { s.tune = f } }

// Server is one nats-server that lives at most as long as its test.
type Server struct {
	t        testing.TB
	dir      string
	lazy     bool
	closed   bool
	maxStore int64
	tune     func(*server.Options)
	log      logBuffer

	mu    sync.Mutex
	srv   *server.Server
	opts  *server.Options
	port  int // fixed after the first start
	image int // count of crash images taken
}

// Start runs a server on a random loopback port until the test ends.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := &Server{t: t, maxStore: maxStore, port: -1}
	for _, o := range opts {
		o(s)
	}
	if s.dir == "" {
		s.dir = filepath.Join(t.TempDir(), "nats-0")
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("log of the nats-server:\n%s", s.log.String())
		}
	})
	s.Boot()
	return s
}

// Boot starts a stopped server again, on the same directory and port.
func (s *Server) Boot() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		s.t.Fatal("boot nats-server: it is running")
	}
	s.opts = s.options()
	srv, err := server.NewServer(s.opts.Clone())
	if err != nil {
		s.t.Fatalf("make nats-server: %v", err)
	}
	srv.SetLoggerV2(&s.log, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(Patience) {
		srv.Shutdown()
		s.t.Fatalf("start nats-server: not ready\n%s", s.log.String())
	}
	s.port = srv.Addr().(*net.TCPAddr).Port
	s.srv = srv
}

func (s *Server) options() *server.Options {
	o := &server.Options{}
	if !s.closed {
		if err := o.ProcessConfigString(openAccounts); err != nil {
			s.t.Fatalf("read accounts: %v", err)
		}
	}
	o.ServerName = "natstest"
	o.Host = "127.0.0.1"
	o.Port = s.port
	o.JetStream = true
	o.StoreDir = s.dir
	o.SyncAlways = !s.lazy
	o.JetStreamMaxStore = s.maxStore
	o.JetStreamMaxMemory = maxMemory
	o.NoSigs = true
	if s.tune != nil {
		s.tune(o)
	}
	return o
}

// Stop shuts the server down in good order: clients are closed, files are complete. Does nothing if it is down.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv == nil {
		return
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Restart is Stop and Boot.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Boot()
}

// Dir is where the server stores now. Kill moves it.
func (s *Server) Dir() string { return s.dir }

// URL is the server's address; it stays the same over restarts.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("nats://127.0.0.1:%d", s.port)
}

// Server is the running nats-server, nil while it is down.
func (s *Server) Server() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// Connect opens a TCP connection that reconnects for ever and quickly; the test's end closes it.
func (s *Server) Connect(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	return s.ConnectTo(s.URL(), opts...)
}

// ConnectTo is Connect by way of another address, such as a Proxy's.
func (s *Server) ConnectTo(url string, opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	return connect(s.t, url, opts...)
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	base := []nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(10 * time.Millisecond),
		nats.ReconnectJitter(0, 0),
		nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default one prints
	}
	nc, err := nats.Connect(url, append(base, opts...)...)
	if err != nil {
		t.Fatalf("connect to nats-server: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ConnectInProcess connects without TCP, as standalone does. Such a connection does not survive Kill, Stop or Restart.
func (s *Server) ConnectInProcess(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	return s.ConnectTo("", append([]nats.Option{nats.InProcessServer(s.Server())}, opts...)...)
}

// JetStream is Connect with the JetStream API on top.
func (s *Server) JetStream() jetstream.JetStream {
	s.t.Helper()
	js, err := jetstream.New(s.Connect())
	if err != nil {
		s.t.Fatalf("open jetstream: %v", err)
	}
	return js
}

// Proxy starts a proxy in front of the server.
func (s *Server) Proxy() *Proxy {
	s.t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		s.t.Fatalf("parse the server's address: %v", err)
	}
	return NewProxy(s.t, u.Host)
}

// Eventually waits until cond holds and fails the test if it does not within Patience. For states of which NATS gives
// no signal; where there is one (an acknowledgement, a sequence, a channel), wait for that.
func Eventually(t testing.TB, cond func() bool, what string, args ...any) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: "+what, append([]any{Patience}, args...)...)
		case <-poll.C:
		}
	}
}
