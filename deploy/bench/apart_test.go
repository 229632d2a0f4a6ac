package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

// A server that cannot start, or ends too soon, is an error that says so, and nothing of it stays behind.
func TestServerApartFails(t *testing.T) {
	dir := t.TempDir()
	err := apart(t.Context(), dir, ServeConfig{Server: "none", Partitions: 1}, func(*child) error {
		t.Error("a server that is none is measured")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "does not say where it listens") || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("no server: %v", err)
	}
	err = apart(t.Context(), dir, ServeConfig{Server: emptyEcho, Partitions: 1}, func(s *child) error {
		if l, err := s.ask(askLook); err != nil || l.Heap == 0 || l.Own == 0 || l.RSS < l.Own {
			t.Errorf("a look: %+v, %v", l, err)
		}
		s.in.Close() // it ends
		_, err := s.ask(askLook)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "server") {
		t.Errorf("asked when it had ended: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestServeConfigIsChecked(t *testing.T) {
	err := (&ServeConfig{Server: "x"}).Validate()
	for _, want := range []string{"-server", "-partitions", "-dir"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// What a machine loses is what takes longer than twice the usual.
func TestStandstill(t *testing.T) {
	times := make([]time.Duration, 100)
	for i := range times {
		times[i] = time.Millisecond
	}
	if lost, longest := standstill(times); lost != 0 || longest != 0 {
		t.Errorf("an even one: %g, %v", lost, longest)
	}
	times[7], times[50], times[51] = 101*time.Millisecond, 51*time.Millisecond, 3*time.Millisecond/2
	if lost, longest := standstill(times); lost < 0.59 || lost > 0.6 || longest != 100*time.Millisecond {
		t.Errorf("one that stands still: %g, %v", lost, longest)
	}
	if said := steadiness(10 * time.Millisecond); !strings.Contains(said, "% of the time") {
		t.Error(said)
	}
}
