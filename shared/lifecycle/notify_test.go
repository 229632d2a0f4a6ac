package lifecycle_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/lifecycle"
)

// listen is a service manager's socket.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func environment(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

func TestManagerHears(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@triggerd-%d-%s", os.Getpid(), t.Name())} {
		conn := listen(t, name)
		m := lifecycle.NewManager(environment(map[string]string{"NOTIFY_SOCKET": name}))
		if err := m.Tell("READY=1", "STATUS=ready"); err != nil {
			t.Fatal(err)
		}
		heard := make([]byte, 100)
		n, err := conn.Read(heard)
		if err != nil || string(heard[:n]) != "READY=1\nSTATUS=ready" {
			t.Errorf("%s: heard %q, %v", name, heard[:n], err)
		}
	}
}

func TestNoManager(t *testing.T) {
	m := lifecycle.NewManager(environment(nil))
	if err := m.Tell("READY=1"); err != nil || m != nil || m.Watchdog() != 0 {
		t.Errorf("manager is %v, %v", m, err)
	}
	m = lifecycle.NewManager(environment(map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "gone")}))
	if err := m.Tell("READY=1"); err == nil {
		t.Error("nobody heard, and nobody said so")
	}
}

// A watchdog that another process was given, as when a shell stands in between, is not this one's to serve.
func TestWatchdogOfThisProcess(t *testing.T) {
	for pid, want := range map[string]time.Duration{"": 30 * time.Second, strconv.Itoa(os.Getpid()): 30 * time.Second, "1": 0} {
		m := lifecycle.NewManager(environment(map[string]string{"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": pid}))
		if got := m.Watchdog(); got != want {
			t.Errorf("pid %q: %s", pid, got)
		}
	}
	for _, nothing := range []string{"", "0", "-5", "soon"} {
		m := lifecycle.NewManager(environment(map[string]string{"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": nothing}))
		if got := m.Watchdog(); got != 0 {
			t.Errorf("%q: %s", nothing, got)
		}
	}
}
