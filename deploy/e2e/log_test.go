package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
)

// duplicateWindow is the shortest that can be set.
const duplicateWindow = 100 * time.Millisecond

func (f *fleet) id(p int, seq uint64) string {
	return record.ID{Partition: p, Position: record.Position{Seq: seq}}.String()
}

func (f *fleet) log(p int) jetstream.Stream {
	f.t.Helper()
	stream, err := f.js.Stream(f.t.Context(), broker.TriggersStream(p))
	if err != nil {
		f.t.Fatal(err)
	}
	return stream
}

// storedAt is the server's time of a message of the log.
func (f *fleet) storedAt(p int, seq uint64) time.Time {
	f.t.Helper()
	msg, err := f.log(p).GetMsg(f.t.Context(), seq)
	if err != nil {
		f.t.Fatal(err)
	}
	return msg.Time
}

// awaitServerClock appends to the log until it bears a time beyond t.
func (f *fleet) awaitServerClock(by *member, t time.Time) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		f.accepted(by, "clock", `"module_id":null`)
		return f.storedAt(0, f.lastSeq(0)).After(t)
	}, "the server's clock")
}

// fill sends ever smaller triggers until nothing fits into the log any more. It returns the accepted ones.
func (f *fleet) fill(in *member, user string) (ids []string) {
	f.t.Helper()
	for _, size := range []int{128 << 10, 8 << 10, 512, 0} {
		for {
			n := len(ids) + 1
			r := f.trigger(in, user, fmt.Sprintf(`"module_id":8,"is_async":true,"custom_vars":{"n":%d,"fat":%q}`, n, strings.Repeat("x", size)))
			if r.refused() {
				if r.Code != "unavailable" {
					f.t.Fatalf("a full log answers %d %s", r.code, r.body)
				}
				break
			}
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func (f *fleet) purge(opts ...jetstream.StreamPurgeOpt) {
	f.t.Helper()
	if err := f.log(0).Purge(f.t.Context(), opts...); err != nil {
		f.t.Fatal(err)
	}
}

// A full log refuses and keeps what it has accepted. When an operator has made room (up to the last message, which the worker has applied) all goes on by itself: triggers, the redirect that came due while there was no room for a
// tick, and later starts of the worker.
func TestLogIsFull(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1, "-triggers-max-bytes", "1MiB")
	w, in := f.worker("-checkpoint-every", "1h"), f.ingress() // without a checkpoint it makes no snapshot and trims nothing, or the log might never be full
	f.setUp(in)
	f.register(in, "u", "later")
	delayed := f.accepted(in, "later", `"module_id":8,"is_async":true,"wait_time":1`)
	ids := f.fill(in, "u")
	var a answer
	natstest.Eventually(t, func() bool {
		if a = f.put(in, "later", `{"bot_id":"bot"}`); a.code == 503 {
			return true
		}
		ids = append(ids, f.fill(in, "u")...) // there was room for something that small
		return false
	}, "a registration to be refused")
	if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"unavailable"`) {
		t.Errorf("a registration for a full log: %v %s", a.header, a.body)
	}
	for _, id := range ids {
		f.want(in, id, "redirected")
	}
	f.purge(jetstream.WithPurgeSequence(f.lastSeq(0)))
	ids = append(ids, f.accepted(in, "u", `"module_id":7,"is_async":true`))
	f.want(in, delayed, "redirected")
	w.stop()
	ids = append(ids, f.accepted(in, "u", `"module_id":8,"is_async":true`))
	f.nats.Restart()
	f.worker()
	for _, id := range ids {
		f.want(in, id, "redirected")
	}
	if u := f.user(in, "u"); u.Version != uint64(1+len(ids)) || u.Module != eight {
		t.Errorf("after %d triggers the user is %+v", len(ids), u)
	}
	want := make([]string, len(ids))
	for i, id := range ids {
		want[i] = redirected + " " + id
	}
	f.tells("u", want...)
	f.tells("later", updated+" "+delayed, redirected+" "+delayed+"-r")
}

// An operator who purges all of the log takes away what proves that it is the worker's. A worker that runs goes on, for it has seen every message;
// one that starts halts and says so rather than guess, and so does one without a file, for which the log is no longer complete. Triggers
// are accepted all the while.
func TestLogIsPurgedTooFar(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 1)
	w, in := f.worker(), f.ingress()
	f.setUp(in)
	f.register(in, "u")
	f.want(in, f.accepted(in, "u", `"module_id":8,"is_async":true`), "redirected")
	f.purge()
	f.want(in, f.accepted(in, "u", `"module_id":7,"is_async":true`), "redirected")
	if u := f.user(in, "u"); u.Version != 3 || u.Module != seven {
		t.Errorf("state is %+v", u)
	}
	w.stop()
	f.purge()
	for name, c := range map[string]struct{ dir, says string }{
		"the same files": {f.dir, "not in the log any more"},
		"no files":       {t.TempDir(), "does not begin with its first message"},
	} {
		w := f.worker("-data-dir", c.dir, "-halt-after", "200ms")
		natstest.Eventually(t, func() bool { return f.partitions(w.admin, "")[0].State == "halted" }, "the worker to halt with "+name)
		if page := f.partitions(w.admin, "")[0]; !strings.Contains(page.Cause, c.says) {
			t.Errorf("with %s the worker says %q", name, page.Cause)
		}
		if code := f.ready(w); code != 503 {
			t.Errorf("with %s readyz answers %d", name, code)
		}
		w.stop()
	}
	f.accepted(in, "u", `"module_id":8,"is_async":true`)
	if n := len(f.about("u", 2)); n != 2 {
		t.Errorf("%d events", n)
	}
}

// A log that vanished keeps nobody from starting: its partition halts, and takes nothing; the other one goes on. Once it is restored a
// worker that is started has everything.
func TestLogIsMissingAtStart(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t, 2)
	w, in := f.worker(), f.ingress()
	f.setUp(in)
	users := map[int]string{}
	for i := 0; len(users) < 2; i++ {
		user := fmt.Sprint("u", i)
		users[broker.Partition(account, user, 2)] = user
	}
	f.register(in, users[0], users[1])
	for _, user := range users {
		f.want(in, f.accepted(in, user, `"module_id":8,"is_async":true`), "redirected")
	}
	conn := f.nats.Connect()
	backup := natstest.TakeBackup(t, conn, broker.TriggersStream(1))
	w.stop()
	in.stop()
	if err := f.js.DeleteStream(t.Context(), broker.TriggersStream(1)); err != nil {
		t.Fatal(err)
	}
	w, in = f.worker("-halt-after", "1s"), f.ingress("-append-timeout", "1s", "-check-timeout", "100ms")
	if r := f.trigger(in, users[1], `"module_id":7,"is_async":true`); r.code != 503 {
		t.Errorf("without a log a trigger is answered %d %s", r.code, r.body)
	}
	f.want(in, f.accepted(in, users[0], `"module_id":7,"is_async":true`), "redirected")
	if page := f.partitions(w.admin, "")[1]; page.State != "halted" {
		t.Errorf("the partition without a log is %s", page.State)
	}
	backup.Restore(t, conn)
	var r reply
	natstest.Eventually(t, func() bool { r = f.trigger(in, users[1], `"module_id":7,"is_async":true`); return r.code == 200 }, "the log takes triggers again")
	w.stop()
	f.worker()
	f.want(in, r.ID, "redirected")
}
