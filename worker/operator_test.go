package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/control"
	"github.com/triggerd/triggerd/worker/internal/store"
)

// typed runs a command as an operator types it, and returns what it says.
func (f *fleet) typed(want int, args ...string) (stdout, stderr string) {
	f.t.Helper()
	var out, errs bytes.Buffer
	args = append(args[:1:1], append([]string{"-nats-url", f.srv.URL()}, args[1:]...)...)
	code, ok := Command(context.Background(), args, []string{"TRIGGERD_DATA_DIR=/x", "TRIGGERD_MEMBER_TTL=1s"}, &out, &errs)
	if !ok || code != want {
		f.t.Fatalf("%v: code %d, %v: %s", args, code, ok, errs.String())
	}
	return out.String(), errs.String()
}

// row is a partition as inspect shows it.
type row struct {
	Partition                                  int
	State, Owner, Standby, Paused, Quarantined string
	Digest                                     string
	Applied, Last, Emitted, Events             uint64
	First                                      uint64
	Pending                                    uint64 `json:"pending_redirects"`
	CheckpointSeq                              uint64 `json:"checkpoint_seq"`
	SnapshotSeq                                uint64 `json:"snapshot_seq"`
	Halted                                     map[string]string
	Faults                                     []string
}

func (f *fleet) inspect(args ...string) (rows []row) {
	f.t.Helper()
	args = append([]string{"inspect", "-json", "-nats-url", f.srv.URL()}, args...)
	var out, errs bytes.Buffer
	if code, ok := Command(context.Background(), args, nil, &out, &errs); !ok || code != 0 && code != 3 { // 3: something is wrong, as may be
		f.t.Fatalf("%v: code %d, %v: %s", args, code, ok, errs.String())
	}
	var page struct{ Partitions []row }
	if err := json.Unmarshal(out.Bytes(), &page); err != nil {
		f.t.Fatalf("%v: %s", err, out.String())
	}
	return page.Partitions
}

// String says how the partitions are, for a test that waits for something else.
func (f *fleet) String() string { return fmt.Sprintf("%+v", f.inspect()) }

// A partition that is paused is nobody's: its owner and its standby let go of it, in good order, and workers that come later, or come back, leave it
// alone. Accepting goes on, and so do the others. A resume brings it back, with everything that waited.
func TestPauseAndResume(t *testing.T) {
	f := newFleet(t)
	a, b := f.start("a"), f.start("b")
	f.settled(a, b)
	f.load()
	out, _ := f.typed(0, "pause", "-partition", "1", "-who", "ann", "-reason", "disk is being replaced")
	if !strings.Contains(out, "partition 1 is paused") {
		t.Errorf("pause says %q", out)
	}
	gone := func(mates ...*mate) {
		t.Helper()
		natstest.Eventually(t, func() bool {
			for _, m := range mates {
				for _, h := range m.all() {
					if h.Status().Partition == 1 {
						return false
					}
				}
			}
			return true
		}, "nobody has the partition")
	}
	gone(a, b)
	before := f.last(1)
	f.showsPause(a)
	b.drain()
	b = f.start("b")
	c := f.start("c")
	<-c.Ready() // paused is settled
	natstest.Eventually(t, func() bool { return f.last(1) > before+10 }, "triggers are accepted all the while")
	gone(a, b, c)
	natstest.Eventually(t, func() bool {
		for _, r := range f.inspect() {
			if r.Partition != 1 && r.State != "serving" {
				return false
			}
		}
		return true
	}, "the others are served")
	if out, _ = f.typed(0, "resume", "-partition", "1"); !strings.Contains(out, "was paused by ann") {
		t.Errorf("resume says %q", out)
	}
	f.audit(a, b, c)
}

// A pause that is over at once is over, whatever of it a worker has heard and when: nothing stays stopped, or is waited for.
func TestPauseThatIsOverAtOnce(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	f.settled(a)
	for range 10 {
		for p := range shares {
			if err := control.Pause(f.ctx(), f.broker, p, "ann", ""); err != nil {
				t.Fatal(err)
			}
			if err := control.Resume(f.ctx(), f.broker, p, "ann", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.settled(a)
}

// One that was not stopped for a pause, because the supervisor never saw it, goes on when the pause is over.
func TestPauseThatTheSupervisorNeverSees(t *testing.T) {
	_, b := ensure(t)
	w, err := New(Config{DataDir: t.TempDir()}, Deps{Broker: b})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer running.Wait()
	defer cancel()
	running.Go(func() { w.orders.Run(ctx) })
	if err := control.Pause(ctx, b, 1, "ann", ""); err != nil {
		t.Fatal(err)
	}
	close(w.told)
	allowed := make(chan struct{})
	running.Go(func() { defer close(allowed); (&supervisor{Worker: w}).allowed(ctx, 1) })
	natstest.Eventually(t, func() bool { return w.orders.Of(1).Paused() }, "it is heard of the pause")
	if err := control.Resume(ctx, b, 1, "ann", ""); err != nil {
		t.Fatal(err)
	}
	select {
	case <-allowed:
	case <-time.After(natstest.Patience):
		t.Error("the partition is held for good")
	}
}

// showsPause looks for the pause wherever people look.
func (f *fleet) showsPause(m *mate) {
	f.t.Helper()
	page := pages(f.t, m.Worker, "")
	found := false
	for _, s := range page {
		found = found || s.Partition == 1 && s.State == "paused" && strings.Contains(s.Cause, "ann") && strings.Contains(s.Cause, "disk")
	}
	if !found {
		f.t.Errorf("/partitions shows %+v", page)
	}
	if detail, err := m.check(1); err != nil || !strings.Contains(detail, "paused by ann") {
		f.t.Errorf("/readyz says %q, %v", detail, err)
	}
	const want = "# HELP triggerd_worker_paused 1 if an operator has paused the partition: triggers are accepted and wait. Bad if nobody remembers why: worker inspect says who and why, worker resume ends it.\n# TYPE triggerd_worker_paused gauge\n" +
		`triggerd_worker_paused{partition="0"} 0` + "\n" + `triggerd_worker_paused{partition="1"} 1` + "\n" +
		`triggerd_worker_paused{partition="2"} 0` + "\n" + `triggerd_worker_paused{partition="3"} 0` + "\n"
	if err := testutil.GatherAndCompare(m.reg, strings.NewReader(want), "triggerd_worker_paused"); err != nil {
		f.t.Error(err)
	}
	r := f.inspect("-partition", "1")[0]
	if r.State != "paused" || !strings.Contains(r.Paused, "disk is being replaced") {
		f.t.Errorf("inspect shows %+v", r)
	}
}

// What has halted everywhere is tried again after a resume, without a restart; if nothing has changed it halts again.
func TestResumeTriesAgainWhatHasHalted(t *testing.T) {
	f := newFleet(t)
	file := filepath.Join(f.dir, "a", "worker", "partition-2.db")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	f.ahead(file, 2)
	a := f.start("a")
	halted := func() bool { r := f.inspect("-partition", "2")[0]; return r.State == "halted" && len(r.Halted) == 1 }
	natstest.Eventually(t, halted, "the partition halts")
	for _, cause := range f.inspect("-partition", "2")[0].Halted {
		if !strings.Contains(cause, "to do:") {
			t.Errorf("cause is %q", cause)
		}
	}
	first := a.all()[2]
	f.typed(0, "resume", "-partition", "2")
	natstest.Eventually(t, func() bool { hs := a.all(); return len(hs) == shares && hs[2] != first && halted() }, "it is tried again, and halts again")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	f.typed(0, "resume", "-partition", "2")
	f.settled(a)
}

// ahead makes a file that is ahead of its log, so that its partition halts.
func (f *fleet) ahead(path string, p int) {
	f.t.Helper()
	st, err := store.Open(path, store.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	defer st.Close()
	st.Freeze(store.Checkpoint{Identity: store.Identity{LogID: f.broker.LogID(p), Partition: p, Seq: 1 << 40, Time: 1, Hash: 1}})
	if err := st.Commit(); err != nil {
		f.t.Fatal(err)
	}
}

// Inspect shows a running deployment as it is, from outside, and changes nothing.
func TestInspect(t *testing.T) {
	f := newFleet(t)
	a, b := f.start("a"), f.start("b")
	f.settled(a, b)
	f.load()
	natstest.Eventually(t, func() bool { return f.last(0) > 50 }, "there is something to see")
	f.stop()
	f.settled(a, b)
	natstest.Eventually(t, func() bool {
		for _, r := range f.inspect() {
			if r.State != "serving" || r.Owner == "" || r.Standby == "" || r.Owner == r.Standby || r.Applied != r.Last || r.Emitted != r.Events ||
				r.CheckpointSeq != r.Last || len(r.Faults) > 0 || r.Digest != "" {
				return false
			}
		}
		return true
	}, "all is applied, emitted and kept")
	for p, r := range f.inspect("-digest") {
		if digest, ok := f.digest(p, r.Last, []*mate{a, b}); ok && r.Digest != fmt.Sprintf("%016x", digest) {
			t.Errorf("partition %d has digest %s, want %016x", p, r.Digest, digest)
		}
	}
	out, _ := f.typed(0, "inspect", "-digest")
	if lines := strings.Split(out, "\n"); len(lines) != shares+3 || !strings.HasPrefix(lines[1], "PARTITION") || !strings.Contains(lines[2], "serving") {
		t.Errorf("the table is\n%s", out)
	}
	user := f.somebody()
	if out, _ = f.typed(0, "inspect", "-account", "demo", "-user", user); !strings.Contains(out, `"bot_id": "shop"`) {
		t.Errorf("the user is %s", out)
	}
	id := record.ID{Partition: 0, Position: record.Position{Seq: 2}}.String()
	if out, _ = f.typed(0, "inspect", "-account", "demo", "-trigger", id); !strings.Contains(out, `"status": "applied"`) {
		t.Errorf("the outcome is %s", out)
	}
	f.inspectFile(a, b)
}

// somebody is a user whom the load put where the partition function looks for him.
func (f *fleet) somebody() string {
	f.t.Helper()
	for p := range shares {
		for n := range fleetUsers {
			if user := fmt.Sprintf("user-%d-%d", p, n); broker.Partition("demo", user, shares) == p {
				return user
			}
		}
	}
	f.t.Fatal("nobody is at home")
	return ""
}

// inspectFile: a file that a worker has is not looked into; once the worker is gone it is.
func (f *fleet) inspectFile(a, b *mate) {
	f.t.Helper()
	file := filepath.Join(f.dir, "a", "worker", "partition-0.db")
	if _, errs := f.typed(1, "inspect", "-file", file); !strings.Contains(errs, "without -file") {
		f.t.Errorf("a locked file: %q", errs)
	}
	want := f.inspect("-digest", "-partition", "0")[0]
	a.drain()
	out, _ := f.typed(0, "inspect", "-file", file, "-digest")
	var page struct {
		Partition int
		Seq       uint64
		Digest    string
	}
	if err := json.Unmarshal([]byte(out), &page); err != nil || page.Partition != 0 || page.Seq != want.Last || page.Digest != want.Digest {
		f.t.Errorf("the file is %s, the owner said %+v", out, want)
	}
	if out, _ = f.typed(0, "inspect", "-file", file, "-account", "demo", "-user", "user-0-0"); !strings.Contains(out, `"bot_id": "shop"`) {
		f.t.Errorf("the user is %s", out)
	}
	b.drain()
	if r := f.inspect("-partition", "0")[0]; r.State != "unowned" || r.Last == 0 || len(r.Faults) != 0 {
		f.t.Errorf("without workers %+v", r)
	}
	f.showsUnknown()
}

// showsUnknown: what nobody says is not shown as nothing, what is wrong comes first, and the exit code tells programs.
func (f *fleet) showsUnknown() {
	f.t.Helper()
	out, _ := f.typed(3, "inspect", "-partition", "0")
	lines := strings.Split(out, "\n")
	if len(lines) < 4 || !strings.HasPrefix(lines[1], "! partition 0: no worker has it") || !strings.HasSuffix(lines[1], "to do: start a worker") {
		f.t.Fatalf("without workers it says\n%s", out)
	}
	if cells := strings.Fields(lines[3]); cells[0] != "0" || cells[1] != "!" || !strings.HasPrefix(cells[5], "?/") || cells[6] != "?" {
		f.t.Errorf("without workers the line is %q", cells)
	}
	if out, _ = f.typed(3, "inspect", "-json"); strings.Contains(out, `"applied"`) || !strings.Contains(out, `"log_max_bytes"`) {
		f.t.Errorf("without workers it says\n%s", out)
	}
}

// What is typed wrong is said, with the exit code for that, and a broker without a deployment is not made into one.
func TestWrongUsage(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "-partition is missing", []string{"pause"}},
		{2, "0 to 3", []string{"resume", "-partition", "4"}},
		{2, "did you mean -partition", []string{"pause", "-partitoin", "1"}},
		{2, "-account is missing", []string{"inspect", "-user", "alice"}},
		{2, "one at a time", []string{"inspect", "-user", "alice", "-trigger", "0-1-0", "-account", "a"}},
		{2, "-trigger", []string{"inspect", "-trigger", "nonsense", "-account", "a"}},
		{1, "no such file", []string{"inspect", "-file", "/nowhere/x.db"}},
		{1, "connect", []string{"inspect", "-nats-url", "nats://127.0.0.1:1", "-timeout", "300ms"}},
	} {
		if _, errs := f.typed(c.code, c.args...); !strings.Contains(errs, c.says) {
			t.Errorf("%v says %q", c.args, errs)
		}
	}
	empty := natstest.Start(t, natstest.Lazy())
	if _, errs := f.typed(1, "pause", "-partition", "0", "-nats-url", empty.URL()); !strings.Contains(errs, "no deployment here") {
		t.Errorf("without a deployment: %q", errs)
	}
	for _, args := range [][]string{nil, {"-data-dir", "x"}, {"pausing"}} {
		if _, ok := Command(context.Background(), args, nil, nil, nil); ok {
			t.Errorf("%v is taken for a verb", args)
		}
	}
	if out, _ := f.typed(0, "inspect", "-h"); !strings.Contains(out, "-digest") {
		t.Errorf("help is %q", out)
	}
}
