package snapshot

import (
	"testing"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// On a cluster of three the leader of the object store dies in the middle of an upload: that snapshot may come to nothing, and the next one stands.
func TestLeaderDiesDuringAnUpload(t *testing.T) {
	c := natstest.StartCluster(t)
	r := newRigOn(t, c.Connect(), 3)
	one := r.made(r.shelf())
	r.advance()
	var killed *natstest.Member
	s := r.shelves(func(step string) error {
		if step == StepUpload && killed == nil {
			killed = c.Leader(r.broker.JS, objectStream)
			killed.Kill()
		}
		return nil
	}).Of(0, r.path)
	kept, err := s.Make(t.Context(), r.store, nil)
	t.Logf("the snapshot ended with %d kept, %v", len(kept), err)
	c.Leader(r.broker.JS, objectStream)
	natstest.Eventually(t, func() bool { _, err := s.List(t.Context()); return err == nil }, "the pointer can be read")
	for _, e := range r.list() {
		if d, err := r.restored(e); err != nil || d != e.Digest {
			t.Errorf("snapshot %s: %v", e.Object, err)
		}
	}
	killed.Boot()
	killed.AwaitCurrent()
	before := r.list()[0]
	if err != nil && before.Object != one.Object {
		t.Errorf("a snapshot that failed is kept: %+v", before)
	}
	c.Leader(r.broker.JS, broker.TriggersStream(0))
	r.advance()
	natstest.Eventually(t, func() bool { // every stream has to find its leader first
		_, err = r.shelf().Make(t.Context(), r.store, nil)
		return err == nil
	}, "another snapshot is made")
	r.sound(r.seq, before.Seq)
	r.trim(r.shelf(), before.Seq)
}
