package snapshot

import (
	"testing"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// A snapshot of what the log has lost is none: it would take the place of one that the log still bears out, and whoever adopts the log needs that.
func TestMakeNeedsTheLogOfTheSnapshot(t *testing.T) {
	for name, more := range map[string]int{"the log is shorter": 0, "the log has other messages": 10} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.shelf()
			r.made(s)
			r.made(s)
			kept := r.list()
			early := natstest.TakeBackup(t, r.broker.Conn, broker.TriggersStream(0))
			r.advance()
			if err := r.broker.JS.DeleteStream(t.Context(), broker.TriggersStream(0)); err != nil {
				t.Fatal(err)
			}
			early.Restore(t, r.broker.Conn)
			for range more {
				if _, err := r.broker.JS.Publish(t.Context(), broker.TriggersSubject(0), []byte("another")); err != nil {
					t.Fatal(err)
				}
			}
			if made, err := s.Make(t.Context(), r.store, nil); err == nil || NoFault(err) {
				t.Errorf("made %v, %v", made, err)
			}
			if now := r.list(); len(now) != len(kept) || now[0].Object != kept[0].Object || now[1].Object != kept[1].Object {
				t.Errorf("the list is %v, it was %v", now, kept)
			}
		})
	}
}
