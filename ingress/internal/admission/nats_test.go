package admission

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/statequery"
)

// overNATS is an Admission whose owner answers over a real broker: users named "known…" exist.
func overNATS(t testing.TB, requests *atomic.Int64) *Admission {
	t.Helper()
	srv := natstest.Start(t, natstest.Lazy())
	own(t, srv.Connect(), requests)
	a, err := New(Config{Partitions: 1, Timeout: natstest.Patience}, Deps{Asker: statequery.NewClient(srv.Connect())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func own(t testing.TB, conn *nats.Conn, requests *atomic.Int64) {
	t.Helper()
	_, err := conn.Subscribe(broker.StateSubject(0), func(msg *nats.Msg) {
		requests.Add(1)
		req, err := statequery.DecodeRequest(msg.Data)
		if err != nil {
			t.Errorf("owner cannot read the request: %v", err)
			return
		}
		reply := statequery.Reply{Known: make([]bool, len(req.Check))}
		for i, u := range req.Check {
			reply.Known[i] = strings.HasPrefix(u.User, "known")
			if !reply.Known[i] && req.WaitMillis == 0 {
				reply.Error = statequery.WordBehind
			}
		}
		data, err := statequery.EncodeReply(reply)
		if err != nil {
			t.Error(err)
		}
		_ = msg.Respond(data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestThousandCallersMakeFewRequests(t *testing.T) {
	var requests atomic.Int64
	a := overNATS(t, &requests)
	var start, all sync.WaitGroup
	start.Add(1)
	for i := range 1000 {
		all.Go(func() {
			start.Wait()
			user, want := fmt.Sprint("known", i), Known
			if i%2 == 1 {
				user, want = fmt.Sprint("stranger", i), Unknown
			}
			if got := a.User(t.Context(), 0, "demo", user); got != want {
				t.Errorf("%s is %v, want %v", user, got, want)
			}
		})
	}
	start.Done()
	all.Wait()
	t.Logf("%d requests", requests.Load())
	if n := requests.Load(); n > 200 {
		t.Errorf("1000 callers made %d requests", n)
	}
}

func TestNobodyListeningIsUnverified(t *testing.T) {
	srv := natstest.Start(t, natstest.Lazy())
	a, err := New(Config{Partitions: 1, Timeout: natstest.Patience}, Deps{Asker: statequery.NewClient(srv.Connect())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	if v := a.User(t.Context(), 0, "demo", "alice"); v != Unverified {
		t.Errorf("verdict %v", v)
	}
}

// BenchmarkMiss is what a check costs when every user is a new one, 256 callers at once.
func BenchmarkMiss(b *testing.B) {
	var requests, next atomic.Int64
	a := overNATS(b, &requests)
	b.ReportAllocs()
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v := a.User(b.Context(), 0, "demo", fmt.Sprint("known", next.Add(1))); v != Known {
				b.Errorf("verdict %v", v)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(requests.Load()), "users/request")
}
