package appender_test

import (
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/natstest"
)

// valve is a dialer of connections to a peer that does not read any more once it is shut, with no room on the way.
type valve struct {
	mu   sync.Mutex
	shut bool
	open *sync.Cond
}

func newValve() *valve {
	v := &valve{}
	v.open = sync.NewCond(&v.mu)
	return v
}

func (v *valve) turn(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
	v.open.Broadcast()
}

// Dial implements nats.CustomDialer.
func (v *valve) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return valved{conn, v}, err
}

type valved struct {
	net.Conn
	v *valve
}

func (c valved) Write(b []byte) (int, error) {
	c.v.mu.Lock()
	for c.v.shut {
		c.v.open.Wait()
	}
	c.v.mu.Unlock()
	return c.Conn.Write(b)
}

// publishing says whether a loop is handing a batch to the client. It does so for microseconds, unless the client cannot take it.
func publishing() bool {
	buf := make([]byte, 1<<20)
	return strings.Contains(string(buf[:runtime.Stack(buf, true)]), "appender.(*partition).send(")
}

// many looks at the loops, each of them a second later, as far as they know.
func many(h *lifecycle.Health) (hung []lifecycle.Stall) {
	for range 100 {
		hung = h.Look(time.Second, time.Minute)
	}
	return hung
}

// A loop that waits does not hang: for callers, or for a broker that takes nothing more off its connection, so that whoever publishes waits. One that
// cannot go on by a fault of its own does.
func TestLoopHangsByItsOwnFaultAlone(t *testing.T) {
	srv, v, health := natstest.Start(t), newValve(), lifecycle.NewHealth()
	newRigOn(t, srv, unhurried) // for the log
	nc := srv.ConnectTo(srv.URL(), nats.SetCustomDialer(v))
	app, err := appender.New(appender.Config{Partitions: 1, Timeout: patient, RepeatAfter: time.Millisecond}, appender.Deps{Conn: nc, Health: health})
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, func() bool { return many(health) == nil }, "an appender that nobody calls rests")

	release := appender.Seize(app, 0)
	natstest.Eventually(t, func() bool { return len(many(health)) == 1 }, "a loop hangs")
	release()
	natstest.Eventually(t, func() bool { return many(health) == nil }, "it does not hang any more")

	v.turn(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = app.Append(t.Context(), 0, "account", []byte(`{}`)) // is repeated, until a repetition cannot be handed over
	}()
	natstest.Eventually(t, publishing, "the loop cannot publish")
	if hung := many(health); hung != nil || !publishing() {
		t.Errorf("while the broker takes nothing there are %v", hung)
	}
	v.turn(false)
	<-ended
	if err := app.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if all := health.Pulses(); len(all) > 0 {
		t.Errorf("after the end there are %v", all)
	}
}
