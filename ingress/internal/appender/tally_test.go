package appender_test

import (
	"testing"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
)

// A log that has lost what it acknowledged, and that nobody had read yet, goes on as if nothing had been: only who appended can know.
func TestReversedLogIsCounted(t *testing.T) {
	r := newRig(t, unhurried)
	r.must("first")
	r.must("second")
	if stored, reversals := appender.Tally(r.app, 0); stored != 2 || reversals != 0 {
		t.Fatalf("%g records stored, %g reversals", stored, reversals)
	}
	name := broker.TriggersStream(0)
	stream, err := r.log.JS.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if err := r.log.JS.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.JS.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if pos := r.must("third"); pos.Seq != 1 {
		t.Fatalf("third lies at %v", pos)
	}
	if stored, reversals := appender.Tally(r.app, 0); stored != 3 || reversals != 1 {
		t.Errorf("%g records stored, %g reversals, want 3 and 1", stored, reversals)
	}
	r.must("fourth")
	if _, reversals := appender.Tally(r.app, 0); reversals != 1 {
		t.Errorf("%g reversals, want 1: each is counted once", reversals)
	}
}
