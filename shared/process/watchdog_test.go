package process_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

// manager is a service manager that gives a process a watchdog.
type manager struct {
	t     *testing.T
	heard chan string // one assignment after the other
}

// newManager is that of all processes that the test starts. It wants a sign of life within that time.
func newManager(t *testing.T, within time.Duration) *manager {
	name := fmt.Sprintf("@triggerd-%d-%s", os.Getpid(), t.Name())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, heard: make(chan string, 10_000)}
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			for one := range strings.SplitSeq(string(buf[:n]), "\n") {
				m.heard <- one
			}
		}
	})
	t.Cleanup(func() { conn.Close(); reading.Wait() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(within.Microseconds()))
	return m
}

// await returns what was heard before an assignment that begins so.
func (m *manager) await(prefix string) (before []string) {
	m.t.Helper()
	late := time.After(natstest.Patience)
	for {
		select {
		case one := <-m.heard:
			if strings.HasPrefix(one, prefix) {
				return before
			}
			before = append(before, one)
		case <-late:
			m.t.Fatalf("manager did not hear %s, but at last %q", prefix, before[max(0, len(before)-10):])
		}
	}
}

func livez(t *testing.T, addr string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// watched is a program with a loop that the test turns.
type watched struct {
	env   *process.Env
	pulse *lifecycle.Pulse
	first chan struct{} // closed by the test when the program may be ready
	began chan struct{}
	last  chan struct{} // closed by the test when the program may be drained
}

func (w *watched) program(remote process.Remote) process.Program {
	return process.Program{Name: "test",
		Dial: func(ctx context.Context) (*nats.Conn, error) {
			return remote.Dial(ctx, "test", slog.New(slog.DiscardHandler))
		},
		Parts: func(env *process.Env) ([]lifecycle.Part, error) {
			w.env = env
			w.pulse, _ = env.Health.Pulse("loop")
			return []lifecycle.Part{{Name: "part", Run: func(ctx context.Context, ready func()) error {
				close(w.began)
				select {
				case <-w.first:
				case <-ctx.Done():
				}
				ready()
				<-ctx.Done()
				<-w.last
				return nil
			}}}, nil
		}}
}

// A process tells its manager when it is ready, that it lives, and when it stops. While a loop hangs it gives no sign of life and /livez says which one; when
// the loop turns again all is well.
func TestWatchdogIsTiedToTheLoops(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	m := newManager(t, 40*time.Millisecond)
	cfg, remote := settings(t, "-nats-url", srv.URL())
	cfg.WatchdogAfter = 120 * time.Millisecond
	w := &watched{first: make(chan struct{}), began: make(chan struct{}), last: make(chan struct{})}
	cancel, ended := run(t, w.program(remote), cfg)
	<-w.began
	if before := m.await("EXTEND_TIMEOUT_USEC=40000"); slices.Contains(before, "READY=1") {
		t.Errorf("before its parts are, it is ready: %q", before)
	}
	close(w.first)
	m.await("READY=1")
	if before := m.await("STATUS=ready"); len(before) > 0 {
		t.Errorf("then it says %q", before)
	}
	m.await("WATCHDOG=1")
	if code, body := livez(t, w.env.Admin); code != http.StatusOK {
		t.Errorf("while all is well /livez is %d %s", code, body)
	}

	w.pulse.Turn()
	m.await("STATUS=hangs: loop has not turned for ")
	if code, body := livez(t, w.env.Admin); code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "hangs: loop has not turned for ") {
		t.Errorf("while a loop hangs /livez is %d %s", code, body)
	}
	natstest.Eventually(t, func() bool { return w.env.Health.Pulses()[0].Held >= 3*cfg.WatchdogAfter }, "it was looked at often enough")
	for len(m.heard) > 0 {
		t.Errorf("while a loop hangs the manager hears %s", <-m.heard)
	}

	w.pulse.Rest()
	m.await("WATCHDOG=1")
	if code, body := livez(t, w.env.Admin); code != http.StatusOK {
		t.Errorf("afterwards /livez is %d %s", code, body)
	}
	cancel()
	m.await("STOPPING=1")
	close(w.last)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A process that is told to stop while it starts says that too, and never that it is ready.
func TestWatchdogOfAStartThatIsStopped(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	m := newManager(t, time.Minute)
	cfg, remote := settings(t, "-nats-url", srv.URL())
	w := &watched{first: make(chan struct{}), began: make(chan struct{}), last: make(chan struct{})}
	cancel, ended := run(t, w.program(remote), cfg)
	<-w.began
	cancel()
	if before := m.await("STOPPING=1"); len(before) > 0 {
		t.Errorf("before it stops it says %q", before)
	}
	close(w.last)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	m.await("STATUS=stopping")
	for len(m.heard) > 0 {
		t.Errorf("then it says %q", <-m.heard)
	}
}
