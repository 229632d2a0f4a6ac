package partition

import (
	"testing"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// ran is a rig whose partition has applied something and was drained.
func ran(t *testing.T) (r *rig, file string) {
	t.Helper()
	r, file = newRig(t), ""
	file = r.file()
	r.append(users(2)...)
	x := r.start(file)
	x.reach(r.append(trigger("user-0", 1, 0)))
	if err := x.drain(); err != nil {
		t.Fatal(err)
	}
	return r, file
}

// replaceLog deletes the log and makes another with the same name and metadata, as a botched restore would.
func (r *rig) replaceLog(metadata map[string]string) {
	r.t.Helper()
	stream, err := r.broker.JS.Stream(r.ctx(), broker.TriggersStream(0))
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if err := r.broker.JS.DeleteStream(r.ctx(), cfg.Name); err != nil {
		r.t.Fatal(err)
	}
	for k, v := range metadata {
		cfg.Metadata[k] = v
	}
	if _, err := r.broker.JS.CreateStream(r.ctx(), cfg); err != nil {
		r.t.Fatal(err)
	}
}

func TestReplacedLogHalts(t *testing.T) {
	r, file := ran(t)
	r.replaceLog(nil)
	for range 4 { // as many messages as before and more, but not the same ones
		r.append(users(1)...)
	}
	wantHalt(t, r.start(file).wait(), "is not the one that was applied")
}

func TestMissingTailHalts(t *testing.T) {
	r, file := ran(t)
	r.replaceLog(nil)
	r.append(users(1)...)
	wantHalt(t, r.start(file).wait(), "lost its tail")
}

func TestMissingLogHalts(t *testing.T) {
	r, file := ran(t)
	if err := r.broker.JS.DeleteStream(r.ctx(), broker.TriggersStream(0)); err != nil {
		t.Fatal(err)
	}
	wantHalt(t, r.start(file).wait(), "log is missing")
}

// Nothing comes from a log that was emptied, so nothing would show that something is missing.
func TestEmptiedLogHaltsWithoutAFile(t *testing.T) {
	r, _ := ran(t)
	stream, err := r.broker.JS.Stream(r.ctx(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(r.ctx()); err != nil {
		t.Fatal(err)
	}
	wantHalt(t, r.start(r.file()).wait(), "does not begin with its first message")
}

func TestTrimmedLogHalts(t *testing.T) {
	r, file := ran(t)
	next := r.append(users(1)...)
	stream, err := r.broker.JS.Stream(r.ctx(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.broker.JS.DeleteStream(r.ctx(), broker.TriggersStream(0)); err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.FirstSeq = next + 10
	if _, err := r.broker.JS.CreateStream(r.ctx(), cfg); err != nil {
		t.Fatal(err)
	}
	r.append(users(1)...)
	wantHalt(t, r.start(file).wait(), "not in the log any more")
}

// A log without its beginning is refused where there is no file.
func TestLogWithoutBeginningHalts(t *testing.T) {
	r, _ := ran(t)
	stream, err := r.broker.JS.Stream(r.ctx(), broker.TriggersStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if err := r.broker.JS.DeleteStream(r.ctx(), broker.TriggersStream(0)); err != nil {
		t.Fatal(err)
	}
	cfg.FirstSeq = 100
	if _, err := r.broker.JS.CreateStream(r.ctx(), cfg); err != nil {
		t.Fatal(err)
	}
	r.append(users(1)...)
	wantHalt(t, r.start(r.file()).wait(), "does not begin with its first message")
}

// A log that is replaced while the connection is down must be noticed when it comes back, not at the next start.
func TestReplacedLogHaltsOnReconnect(t *testing.T) {
	r := newRig(t)
	proxy := r.srv.Proxy()
	through := r.connect(proxy.URL())
	r.append(users(2)...)
	x := r.start(r.file(), func(_ *Config, d *Deps) { d.Broker = through })
	x.reach(r.append(trigger("user-0", 1, 0)))
	proxy.Refuse(true)
	proxy.Cut()
	r.replaceLog(nil)
	for range 5 {
		r.append(users(1)...)
	}
	proxy.Refuse(false)
	wantHalt(t, x.wait(), "is not the one that was applied")
	if s := x.Status(); s.State != "halted" || s.Cause == "" {
		t.Errorf("status is %+v", s)
	}
	if _, err := x.Check(); err == nil {
		t.Error("readiness does not show the halt")
	}
}

// The broker stops in the middle and comes back: everything goes on without a restart.
func TestBrokerRestart(t *testing.T) {
	for _, how := range []struct {
		name string
		do   func(*natstest.Server)
	}{
		{"clean", func(s *natstest.Server) { s.Restart() }},
		{"killed", func(s *natstest.Server) { s.Kill(); s.Boot() }},
	} {
		t.Run(how.name, func(t *testing.T) {
			r := newRig(t)
			r.append(users(3)...)
			x := r.start(r.file())
			x.reach(r.append(trigger("user-0", 1, 0), trigger("user-1", 2, 30)))
			how.do(r.srv)
			natstest.Eventually(t, r.broker.Conn.IsConnected, "connection comes back")
			x.reach(r.append(trigger("user-2", 3, 0)))
			r.sameAsUninterrupted(x)
		})
	}
}
