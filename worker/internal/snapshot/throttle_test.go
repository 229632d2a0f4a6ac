package snapshot

import (
	"testing"
	"time"
)

// A disk that hangs is not work: who waited for it for an hour does not rest for four.
func TestDutyDoesNotRestForWaits(t *testing.T) {
	d := newDuty(t.Context(), 0.2, nil)
	d.since = time.Now().Add(-time.Hour)
	d.worked()
	if most := 4 * maxPiece; d.owed <= 0 || d.owed > most {
		t.Errorf("it owes a rest of %s, at most %s is right", d.owed, most)
	}
	before := d.owed
	d.since = time.Now().Add(-time.Millisecond)
	d.worked()
	if owed := d.owed - before; owed < 4*time.Millisecond {
		t.Errorf("for a millisecond of work it owes %s", owed)
	}
	d.hurry = func() bool { return true }
	d.worked()
	if d.owed != 0 {
		t.Errorf("it is to hurry, and owes %s", d.owed)
	}
}
