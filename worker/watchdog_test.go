package worker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/record"
)

// heldFor is for how long the loop of partition p has not turned, by the looks at it; -1: there is none.
func heldFor(h *lifecycle.Health, p int) time.Duration {
	for _, s := range h.Pulses() {
		if s.Loop == fmt.Sprint("partition ", p) {
			return s.Held
		}
	}
	return -1
}

// turns waits until every partition's loop but that of except has turned.
func turns(t *testing.T, h *lifecycle.Health, except int) {
	t.Helper()
	h.Look(time.Nanosecond, 0) // what turned before does not count
	turned := map[int]bool{}
	natstest.Eventually(t, func() bool {
		h.Look(time.Nanosecond, 0)
		all := true
		for p := range partitions {
			turned[p] = turned[p] || heldFor(h, p) == 0
			all = all && (p == except || turned[p])
		}
		return all
	}, "all loops but %d turn: %v", except, turned)
}

// A loop turns while there is nothing to do and while the broker is away. One that hangs does not, and the others go on. What was stopped is not
// expected to turn.
func TestLoopsTurnUnlessTheyHang(t *testing.T) {
	srv, b := ensure(t)
	health := lifecycle.NewHealth()
	w, err := New(Config{DataDir: t.TempDir()}, Deps{Broker: b, Health: health})
	if err != nil {
		t.Fatal(err)
	}
	hangs, release := make(chan struct{}), make(chan struct{})
	w.meets = func(p int, seq uint64) {
		if p == 1 && seq == 2 {
			close(hangs)
			<-release
		}
	}
	stop := runUntil(t, w)
	srv.Stop()
	turns(t, health, -1)
	srv.Boot()
	natstest.Eventually(t, b.Conn.IsConnected, "connected again")
	put(t, b, 1, record.Record{Kind: record.Register, Account: []byte("demo"), User: []byte("alice"), Bot: []byte("shop")})
	<-hangs
	health.Look(time.Nanosecond, 0)
	before := heldFor(health, 1)
	turns(t, health, 1)
	if got := heldFor(health, 1); got <= before {
		t.Errorf("a loop that hangs has not turned for %d looks, after %d", got, before)
	}
	close(release)
	natstest.Eventually(t, func() bool { health.Look(time.Nanosecond, 0); return heldFor(health, 1) == 0 }, "it turns again")
	stop()
	if all := health.Pulses(); len(all) > 0 {
		t.Errorf("after the end there are %v", all)
	}
}

// runUntil runs a worker that is made already.
func runUntil(t *testing.T, w *Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(cancel)
	<-w.Ready()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// A partition whose loop hangs in a whole worker makes /livez name it and ends the signs of life that a service manager gets, so that whoever
// supervises the process kills it.
func TestHungPartitionIsNamed(t *testing.T) {
	srv, b := ensure(t)
	manager := listenAsManager(t)
	var cfg process.Config
	var remote process.Remote
	cfg.RegisterFlags(flag.NewFlagSet("", flag.ContinueOnError))
	remote.RegisterFlags(flag.NewFlagSet("", flag.ContinueOnError))
	cfg.AdminAddr, cfg.WatchdogAfter, cfg.Deployment.Settings, remote.URL = "127.0.0.1:0", 2500*time.Millisecond, b.Settings(), srv.URL()
	log := slog.New(slog.DiscardHandler)
	hangs, release, admin := make(chan struct{}), make(chan struct{}), ""
	program := process.Program{Name: "worker",
		Dial: func(ctx context.Context) (*nats.Conn, error) { return remote.Dial(ctx, "worker", log) },
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			admin = env.Admin
			w, err := New(Config{DataDir: t.TempDir()}, Deps{Broker: env.Broker, Health: env.Health})
			w.meets = func(p int, seq uint64) {
				if p == 1 && seq == 2 {
					close(hangs)
					<-release
				}
			}
			return []lifecycle.Part{w.Part()}, err
		}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- program.Run(ctx, cfg, log) }()
	hears(t, manager, "READY=1")
	hears(t, manager, "WATCHDOG=1")
	put(t, b, 1, record.Record{Kind: record.Register, Account: []byte("demo"), User: []byte("alice"), Bot: []byte("shop")})
	<-hangs
	hears(t, manager, "STATUS=hangs: partition 1 has not turned")
	resp, err := http.Get("http://" + admin + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "partition 1") {
		t.Errorf("/livez is %d %s, %v", resp.StatusCode, body, err)
	}
	close(release)
	hears(t, manager, "WATCHDOG=1")
	cancel()
	hears(t, manager, "STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// listenAsManager is a service manager whose watchdog the processes of this test have.
func listenAsManager(t *testing.T) *net.UnixConn {
	t.Helper()
	name := fmt.Sprintf("@triggerd-%d-%s", os.Getpid(), t.Name())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "400000")
	return conn
}

func hears(t *testing.T, manager *net.UnixConn, word string) {
	t.Helper()
	err := manager.SetReadDeadline(time.Now().Add(natstest.Patience))
	buf := make([]byte, 4096)
	for n := 0; ; {
		var readErr error
		n, readErr = manager.Read(buf)
		if err = errors.Join(err, readErr); err != nil {
			t.Fatalf("manager did not hear %s: %v", word, err)
		}
		if strings.Contains(string(buf[:n]), word) {
			return
		}
	}
}
