package partition

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
)

// A redirect fires although the log stays silent, and one tick is enough for it.
func TestTickFiresInSilence(t *testing.T) {
	r := newRig(t)
	r.append(users(1)...)
	x := r.start(r.file()).serving()
	last := r.append(trigger("user-0", 1, 200))
	natstest.Eventually(t, func() bool { return x.Status().Events == 2 }, "redirect fires")
	x.reach(last + 1)
	r.sameAsUninterrupted(x)
	if n := testutil.ToFloat64(x.deps.Metrics.ticks.WithLabelValues("0")); n < 1 || n > 2 {
		t.Errorf("%v ticks for one redirect", n)
	}
}

// Nothing is appended before the redirect is due by the owner's clock.
func TestNoTickBeforeItsTime(t *testing.T) {
	r := newRig(t)
	var ahead atomic.Int64
	r.append(users(1)...)
	last := r.append(trigger("user-0", 1, 1)) // due at once by the real clock
	x := r.start(r.file(), func(_ *Config, d *Deps) {
		d.Now = func() time.Time { return time.Now().Add(-time.Hour + time.Duration(ahead.Load())) }
	}).serving()
	x.reach(last)
	if s := x.Status(); s.Last != last || s.Events != 1 {
		t.Errorf("status is %+v before the redirect is due", s)
	}
	ahead.Store(int64(time.Hour))
	natstest.Eventually(t, func() bool { return x.Status().Events == 2 }, "redirect fires")
}
