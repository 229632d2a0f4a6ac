package appender_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
)

// benchLine is a trigger of a usual size.
var benchLine = []byte(`{"type":"trigger","account":"demo","user":"user-00000042","module":1068935,"bot":"shop","redirect":true,` +
	`"vars":{"order_id":"A-10042","amount":129.9,"currency":"EUR"},"trace":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`)

// newBench is a rig without the proxy: the appender is connected as standalone's is, in process, or over TCP.
func newBench(b *testing.B, inProcess bool) *rig {
	r := newRig(b, unhurried)
	r.nc = r.srv.Connect()
	if inProcess {
		r.nc = r.srv.ConnectInProcess()
	}
	r.app = r.start(unhurried)
	return r
}

// drive spreads b.N calls over a number of callers.
func drive(b *testing.B, callers int, call func(caller int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for i := range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkAppend: durable records per second through the appender, synced.
func BenchmarkAppend(b *testing.B) {
	for _, inProcess := range []bool{false, true} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("inprocess=%v/callers=%d", inProcess, callers), func(b *testing.B) {
				r := newBench(b, inProcess)
				accounts := [8]string{}
				for i := range accounts {
					accounts[i] = name("account", i)
				}
				drive(b, callers, func(i int) error {
					_, err := r.app.Append(b.Context(), 0, accounts[i%len(accounts)], benchLine)
					return err
				})
			})
		}
	}
}

// BenchmarkOneMessagePerRequest is what Append replaces: every caller publishes its own synced message.
func BenchmarkOneMessagePerRequest(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			r := newBench(b, false)
			drive(b, callers, func(int) error {
				_, err := r.log.JS.PublishMsg(b.Context(), &nats.Msg{Subject: broker.TriggersSubject(0), Data: benchLine})
				return err
			})
		})
	}
}

// BenchmarkQueue is the part of an append that is not the log: in and out of a partition's queue.
func BenchmarkQueue(b *testing.B) {
	b.ReportAllocs()
	appender.CycleQueue(b.N, 64)
}
