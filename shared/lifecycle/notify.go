package lifecycle

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Manager is the service manager that started this process and wants to hear from it, as systemd does (sd_notify(3)). A nil *Manager wants
// to hear nothing.
type Manager struct {
	addr     *net.UnixAddr
	watchdog time.Duration
}

// NewManager takes from the environment what the service manager put there; nil if there is none. What is meant for another process is not taken.
func NewManager(getenv func(string) string) *Manager {
	name := getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	m := &Manager{addr: &net.UnixAddr{Name: name, Net: "unixgram"}} // one that begins with @ is abstract for package net too
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m
	}
	if micros, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 0 {
		m.watchdog = time.Duration(micros) * time.Microsecond
	}
	return m
}

// Watchdog is within what time the manager wants a sign of life, or takes the process for hung; 0: it does not.
func (m *Manager) Watchdog() time.Duration {
	if m == nil {
		return 0
	}
	return m.watchdog
}

// tellWithin bounds how long a manager that does not listen is waited for.
const tellWithin = time.Second

// Tell sends assignments such as READY=1.
func (m *Manager) Tell(assignments ...string) error {
	if m == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, m.addr)
	if err == nil {
		defer conn.Close()
		_ = conn.SetWriteDeadline(time.Now().Add(tellWithin)) // fails only on a closed connection
		_, err = conn.Write([]byte(strings.Join(assignments, "\n")))
	}
	if err != nil {
		return fmt.Errorf("tell service manager: %w", err)
	}
	return nil
}
