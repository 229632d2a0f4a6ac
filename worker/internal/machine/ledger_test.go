package machine_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// Whatever is in a log, each record becomes one thing, and the events are those that follow; also for a ledger that begins in the middle.
func TestLedgerAccountsForEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := machinetest.Log(t)
		r, begin := newRun(), rapid.IntRange(0, len(log)).Draw(t, "begin")
		head := r.Head()
		whole, later := machine.NewLedger(&head), machine.Ledger{}
		for i, msg := range log {
			if i == begin {
				head := r.Head()
				later = machine.NewLedger(&head)
			}
			res, err := r.apply(msg)
			if err != nil {
				t.Fatal(err)
			}
			whole.Add(&res)
			later.Add(&res)
			if n := whole.Unaccounted(); n != 0 || whole.Events != r.Events() {
				t.Fatalf("after message %d: %d unaccounted for, %d events, want 0 and %d", msg.Seq, n, whole.Events, r.Events())
			}
			if i >= begin && (later.Unaccounted() != 0 || later.Events != r.Events()) {
				t.Fatalf("after message %d: the ledger since message %d is %+v, with %d events", msg.Seq, begin, later, r.Events())
			}
		}
	})
}

// The ledger is worth nothing if it cannot be wrong.
func TestLedgerShowsWhatIsLostAndDoubled(t *testing.T) {
	for name, r := range map[string]machine.Result{
		"lost":    {Records: 2, Triggers: 1, Updated: 1},
		"doubled": {Records: 1, Triggers: 2, Updated: 2},
	} {
		var l machine.Ledger
		l.Add(&r)
		if l.Unaccounted() == 0 {
			t.Errorf("%s: %+v looks right", name, l)
		}
	}
}
