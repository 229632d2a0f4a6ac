package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// asChild makes this test binary be the worker, so that tests have processes to kill.
const asChild = "BE_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

const partitions = 4

// fleet is a broker, synced as in production, and worker processes around it.
type fleet struct {
	t   *testing.T
	srv *natstest.Server
	js  jetstream.JetStream
	dir string

	mu       sync.Mutex
	accepted [partitions][]string // ids of the triggers, in the order of the log
}

// proc is a worker process.
type proc struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr strings.Builder
	admin  string
}

// spawn starts a worker and waits for its ready line.
func (f *fleet) spawn(name string) *proc {
	f.t.Helper()
	p := &proc{t: f.t, cmd: exec.Command(os.Args[0], "-nats-url", f.srv.URL(), "-data-dir", filepath.Join(f.dir, name), "-admin-addr", "127.0.0.1:0",
		"-partitions", fmt.Sprint(partitions), "-triggers-max-bytes", "64MiB", "-events-max-bytes", "64MiB", "-member-ttl", "1s")}
	p.cmd.Env = append(os.Environ(), asChild+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		if f.t.Failed() {
			f.t.Logf("stderr of %s:\n%s", name, p.stderr.String())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if _, scanned := fmt.Sscanf(line, "ready admin=%s", &p.admin); err != nil || scanned != nil {
		f.t.Fatalf("%s says %q, %v", name, line, err)
	}
	return p
}

// signal sends a signal and waits for the end.
func (p *proc) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	err := p.cmd.Wait()
	if s == syscall.SIGTERM && err != nil {
		p.t.Errorf("worker that was asked to stop: %v", err)
	}
}

// serving is what the worker serves; nil if it has anything that it neither serves nor follows.
func (p *proc) serving() (list []int) {
	resp, err := http.Get("http://" + p.admin + "/partitions")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var page struct {
		Partitions []struct {
			Partition int
			State     string
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil
	}
	for _, s := range page.Partitions {
		switch s.State {
		case "following":
			continue
		case "serving":
		default:
			return nil
		}
		list = append(list, s.Partition)
	}
	return list
}

// settled waits until each partition is served by one of the processes alone.
func (f *fleet) settled(procs ...*proc) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		seen := map[int]bool{}
		for _, p := range procs {
			list := p.serving()
			if len(list) < partitions/len(procs) {
				return false
			}
			for _, n := range list {
				if seen[n] {
					return false
				}
				seen[n] = true
			}
		}
		return len(seen) == partitions
	}, "%d processes share the partitions", len(procs))
}

// load appends until stop is called, which returns when all is accepted.
func (f *fleet) load() (stop func()) {
	var wg sync.WaitGroup
	ended := make(chan struct{})
	for p := range partitions {
		wg.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			f.send(p, record.Register, 1)
			for n := uint64(2); ; n++ {
				select {
				case <-ended:
					return
				case <-pace.C:
					f.send(p, record.Trigger, n)
				}
			}
		})
	}
	return func() { close(ended); wg.Wait() }
}

func (f *fleet) send(p int, kind record.Kind, n uint64) {
	r := record.Record{Kind: kind, Account: []byte("demo"), User: []byte("alice"), Bot: []byte("shop"), Module: 7, HasModule: true}
	if kind == record.Trigger {
		r.Redirect, r.Vars = true, []record.Var{{Name: []byte("n"), Value: fmt.Appendf(nil, "%d", n)}}
	}
	b := record.Batch{Writer: fmt.Sprintf("processwriter%d", p), Number: n, Time: time.Now().UnixMilli(), Count: 1, Payload: r.AppendTo(nil)}
	ack, err := f.js.PublishMsg(f.t.Context(), &nats.Msg{Subject: broker.TriggersSubject(p), Header: b.Header(), Data: b.Payload})
	if err != nil {
		f.t.Errorf("append: %v", err)
		return
	}
	if kind == record.Trigger {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.accepted[p] = append(f.accepted[p], record.ID{Partition: p, Position: record.Position{Seq: ack.Sequence}}.String())
	}
}

// audit waits until there are as many events as accepted triggers, and compares one by one.
func (f *fleet) audit() {
	f.t.Helper()
	for p := range partitions {
		var ids []string
		natstest.Eventually(f.t, func() bool { ids = f.events(p); return len(ids) >= len(f.accepted[p]) }, "partition %d has emitted everything", p)
		if got, want := strings.Join(ids, " "), strings.Join(f.accepted[p], " "); got != want {
			f.t.Errorf("partition %d: %d events for %d accepted triggers, or in another order", p, len(ids), len(f.accepted[p]))
		}
		f.t.Logf("partition %d: %d triggers", p, len(f.accepted[p]))
	}
}

// events is the ids in EVENTS-p.
func (f *fleet) events(p int) (ids []string) {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), broker.EventsStream(p))
	if err != nil {
		f.t.Fatal(err)
	}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(f.t.Context(), seq)
		if err != nil {
			f.t.Fatal(err)
		}
		var batch []struct{ ID string }
		if err := json.Unmarshal(msg.Data, &batch); err != nil {
			f.t.Fatal(err)
		}
		for _, e := range batch {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// Processes share the partitions; one is killed, comes back, another one is asked to stop: each trigger has its event, once and in order.
func TestProcesses(t *testing.T) {
	srv := natstest.Start(t)
	f := &fleet{t: t, srv: srv, js: srv.JetStream(), dir: t.TempDir()}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	a := f.spawn("a")
	f.settled(a)
	stop := f.load()
	b, c := f.spawn("b"), f.spawn("c")
	f.settled(a, b, c)
	b.signal(syscall.SIGKILL)
	f.settled(a, c)
	b = f.spawn("b")
	f.settled(a, b, c)
	a.signal(syscall.SIGTERM)
	f.settled(b, c)
	b.signal(syscall.SIGKILL) // and back before anybody has noticed
	b = f.spawn("b")
	f.settled(b, c)
	stop()
	f.audit()
	b.signal(syscall.SIGTERM)
	f.settled(c)
	c.signal(syscall.SIGTERM)
}
