package chaos

import (
	"strings"
	"testing"
	"time"
)

// A claim that does not hold is marked, with what it does not hold for.
func TestTable(t *testing.T) {
	m := measurements{}
	m.add(planned, timing{30 * time.Millisecond, 30 * time.Millisecond, "from 1 to 2, partition 0"})
	m.add(planned, timing{251 * time.Millisecond, 40 * time.Millisecond, "from 1 to 2, partition 1"})
	m.add(planned, timing{250 * time.Millisecond, 30 * time.Millisecond, "from 2 to 1, partition 1"})
	m.add(takeover, timing{2 * time.Second, 40 * time.Millisecond, "worker-0 is killed, partition 3"})
	got := m.table("5 idle users", claim{planned, 250 * time.Millisecond}, claim{takeover, 3 * time.Second}, claim{nothing, 0}, claim{refilled, time.Second})
	for _, want := range []string{
		"250ms   251ms  at most 250ms: DOES NOT HOLD, 1 of 3\n",
		"2s      2s     at most 3s: holds\n",
		"at most 1s: not measured\n",
		"\nplanned move: longest without an answer: from 1 to 2, partition 1: 251ms, an ingress that asks nobody: 40ms",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table does not say %q:\n%s", want, got)
		}
	}
}
