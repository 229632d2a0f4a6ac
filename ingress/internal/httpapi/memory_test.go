package httpapi

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/natstest"
)

// inUse is what the process holds in heap and stacks, in bytes.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestManyConnections opens connections in memory: idle ones, and ones that announce a body and send a part of it. What they cost is bounded for each, and what they send
// for all together.
func TestManyConnections(t *testing.T) {
	const (
		connections = 10_000
		each        = 32 << 10 // with both ends of a pipe
		budget      = 4 << 20
	)
	w := newWorld(t, func(c *Config) {
		c.MaxBodyBytes, c.MaxConnections = budget, 2*connections
		c.ReadHeaderTimeout, c.ReadTimeout, c.WriteTimeout = time.Hour, time.Hour, time.Hour // a body that is cut off is neither in hand nor refused
	})
	ln := &pipes{make(chan net.Conn), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- w.api.Serve(ln) }()
	var clients []net.Conn
	var senders sync.WaitGroup
	open := func(request func(i int) string) {
		for i := range connections {
			client, server := net.Pipe()
			clients = append(clients, client)
			ln.conns <- server
			if text := request(i); text != "" {
				senders.Go(func() { client.Write([]byte(text)) }) // until it is taken, or the connection ends
			}
		}
	}
	limit := func(what string, before, most int64) {
		t.Helper()
		if grown := inUse() - before; grown > most {
			t.Errorf("%s: %d bytes, over %d", what, grown, most)
		} else {
			t.Logf("%s: %d bytes a connection, %d of bodies", what, grown/connections, int64(w.api.bodies.out(budget)))
		}
	}
	refused := func(limit string) float64 { return testutil.ToFloat64(w.api.metrics.overloads.WithLabelValues(limit)) }
	before := inUse()
	open(func(int) string { return "" })
	limit("idle", before, connections*each)
	before = inUse()
	open(func(i int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: JWT account%d:trigger\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			triggerPath, i%10, DefaultMaxBody, strings.Repeat(" ", 20<<10))
	})
	natstest.Eventually(t, func() bool {
		return w.api.places.out(DefaultMaxRequests)+refused(limitRequests)+refused(limitBodyBytes) == connections
	}, "each is in hand or was refused")
	limit("sending", before, connections*(each+(24<<10))+2*budget)
	for _, c := range clients {
		c.Close()
	}
	senders.Wait()
	if err := w.api.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := w.api.bodies.out(budget); n != 0 || w.api.open.Load() != 0 {
		t.Errorf("%g bytes and %d connections are left", n, w.api.open.Load())
	}
}
