package lifecycle_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/lifecycle"
)

const after = time.Minute

// looks looks that often at a minute's loops, a second apart.
func looks(h *lifecycle.Health, n int) (hung []lifecycle.Stall) {
	for range n {
		hung = h.Look(time.Second, after)
	}
	return hung
}

// A loop hangs if it neither turns nor rests over so many looks; the others do not, and it does not any more as soon as it turns.
func TestLoopHangs(t *testing.T) {
	h := lifecycle.NewHealth()
	stuck, _ := h.Pulse("stuck")
	alive, _ := h.Pulse("alive")
	resting, _ := h.Pulse("resting")
	_, _ = h.Pulse("not begun")
	stuck.Turn()
	resting.Turn()
	resting.Rest()
	looks(h, 1) // sees the turn
	for range 59 {
		alive.Turn()
		if hung := looks(h, 1); hung != nil {
			t.Fatalf("too early: %v", hung)
		}
	}
	alive.Turn()
	want := []lifecycle.Stall{{Loop: "stuck", Held: after}}
	if hung := looks(h, 1); !reflect.DeepEqual(hung, want) || !reflect.DeepEqual(h.Hung(), want) {
		t.Errorf("hung are %v, and %v", hung, h.Hung())
	}
	alive.Turn()
	stuck.Turn()
	if hung := looks(h, 1); hung != nil || h.Hung() != nil {
		t.Errorf("hung after a turn: %v, and %v", hung, h.Hung())
	}
}

// A loop that rests for longer than any other may take is expected to turn from its next turn on, not from its last one.
func TestLoopIsNotChargedWithItsRest(t *testing.T) {
	h := lifecycle.NewHealth()
	p, _ := h.Pulse("loop")
	p.Turn()
	looks(h, 30)
	p.Rest()
	looks(h, 1000)
	p.Turn()
	if hung := looks(h, 60); hung != nil {
		t.Errorf("hung: %v", hung)
	}
	if hung := looks(h, 1); len(hung) != 1 {
		t.Errorf("hung: %v", hung)
	}
}

func TestLoopThatEndedIsForgotten(t *testing.T) {
	h := lifecycle.NewHealth()
	p, end := h.Pulse("partition 1")
	again, _ := h.Pulse("partition 1")
	p.Turn()
	again.Turn()
	end()
	if all := h.Pulses(); len(all) != 1 {
		t.Errorf("there are %v", all)
	}
	if hung := looks(h, 100); len(hung) != 1 {
		t.Errorf("hung: %v", hung)
	}
}

func TestZeroJudgesNobody(t *testing.T) {
	h := lifecycle.NewHealth()
	p, _ := h.Pulse("loop")
	p.Turn()
	for range 1000 {
		if hung := h.Look(time.Hour, 0); hung != nil {
			t.Fatalf("hung: %v", hung)
		}
	}
}

func TestNobodyWatches(t *testing.T) {
	var h *lifecycle.Health
	p, end := h.Pulse("loop")
	p.Turn()
	p.Rest()
	end()
	if h.Hung() != nil {
		t.Error("hung")
	}
}
