package partition

import (
	"fmt"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/statequery"
)

// The owner says where it stands, and its digest is that of its state.
func TestStatusIsAnswered(t *testing.T) {
	r := newRig(t)
	r.append(users(3)...)
	seq := r.append(trigger("user-0", 1, 0), trigger("user-0", 2, 3_600_000))
	x := r.start(r.file(), func(c *Config, _ *Deps) { c.Writer = "w1" }).serving()
	x.reach(seq)
	natstest.Eventually(t, func() bool { return x.Status().CheckpointSeq == seq }, "everything is in the file")
	reply, err := r.ask(statequery.Request{Status: &statequery.StatusOf{Digest: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := reply.Status
	if s.Owner != "w1" || s.State != "serving" || s.Since == 0 || reply.Applied != seq || s.Last != seq || s.Users != 3 || s.Pending != 1 ||
		s.Events != 2 || s.Emitted != 2 || s.CheckpointSeq != seq || s.StreamTime == 0 || s.OldestAge != 0 {
		t.Errorf("status is %+v at %d", s, reply.Applied)
	}
	if want := fmt.Sprintf("%016x", x.digest()); s.Digest != want {
		t.Errorf("digest is %s, want %s", s.Digest, want)
	}
	if reply, err = r.ask(statequery.Request{Status: &statequery.StatusOf{}}); err != nil || reply.Status.Digest != "" {
		t.Errorf("without a digest: %+v, %v", reply.Status, err)
	}
}
