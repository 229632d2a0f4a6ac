package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

// waysToLose are how a partition's events are lost; early is a backup of them.
var waysToLose = map[string]func(f *fleet, early natstest.Backup){
	"purged": func(f *fleet, _ natstest.Backup) { f.purgeEvents() },
	"lost their end": func(f *fleet, early natstest.Backup) {
		if err := f.broker.JS.DeleteStream(f.ctx(), broker.EventsStream(torn)); err != nil {
			f.t.Fatal(err)
		}
		early.Restore(f.t, f.broker.Conn)
	},
}

func (f *fleet) purgeEvents() {
	f.t.Helper()
	stream, err := f.broker.JS.Stream(f.ctx(), broker.EventsStream(torn))
	if err == nil {
		err = stream.Purge(f.ctx())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// adopts types adopt for the torn partition.
func (f *fleet) adopts(code int, dir string, more ...string) (stdout, stderr string) {
	f.t.Helper()
	return f.typed(code, append([]string{"adopt", "-partition", fmt.Sprint(torn), "-data-dir", dir, "-margin", "5"}, more...)...)
}

// A partition whose events are gone, with those that its file was made with, halts. While the log, or a snapshot, leads to them an adoption lets them be derived again:
// then all are there, each once.
func TestAdoptDerivesLostEventsAgain(t *testing.T) {
	for name, lose := range waysToLose {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			a, b := f.start("a"), f.start("b")
			f.settled(a, b)
			f.sendRange(1, 20)
			f.inFile(a, b)
			early := natstest.TakeBackup(t, f.broker.Conn, broker.EventsStream(torn))
			for n := uint64(21); n <= 40; n++ { // many messages of few events
				f.send(torn, n)
				natstest.Eventually(t, func() bool { r := f.inspect()[torn]; return r.Applied == f.last(torn) && r.Emitted == r.Events }, "all is emitted: %v", f)
			}
			f.inFile(a, b)
			a.drain()
			b.drain()
			lose(f, early)
			f.sendRange(41, 60)
			f.change = func(c *Config) { c.EmitEvery = 300 * time.Millisecond } // few of many
			a = f.start("a")
			f.halted(1)
			if out, _ := f.adopts(0, filepath.Join(f.dir, "a")); !strings.Contains(out, "put aside") || strings.Contains(out, "never get them") {
				t.Errorf("adopt says\n%s", out)
			}
			f.settled(a)
			f.sendRange(61, 70)
			f.inFile(a)
			if diff := cmp.Diff(f.reference(torn, f.last(torn)), f.emitted(torn)); diff != "" {
				t.Errorf("events are not all that the log leads to (-want +got):\n%.3000s", diff)
			}
			f.start("b") // whose file was made with those that were lost; EVENTS holds as many now, in fewer messages
			f.typed(0, "pause", "-partition", fmt.Sprint(torn))
			f.adopts(0, filepath.Join(f.dir, "b"))
			natstest.Eventually(t, func() bool { r := f.inspect()[torn]; return len(r.Halted) == 0 && r.Standby != "" }, "both have it again: %v", f)
		})
	}
}

// If nothing leads to them any more, because the log was trimmed, an operator may go on without them. What followed since is emitted, with the numbers that it has anyway.
func TestAdoptWithoutLostEvents(t *testing.T) {
	for name, lose := range waysToLose {
		for _, dir := range []string{"a", "older"} { // a worker may begin with a snapshot although its file is good
			t.Run(name+", with "+dir, func(t *testing.T) {
				t.Parallel()
				f := newFleet(t)
				f.change = func(c *Config) { often(c); c.RestoreSpares = 1 }
				a := f.start("a")
				f.settled(a)
				f.sendRange(1, 10)
				f.inFile(a)
				early := natstest.TakeBackup(t, f.broker.Conn, broker.EventsStream(torn))
				number := uint64(11)
				snapshot := func() {
					t.Helper()
					f.sendRange(number, number+9)
					number += 10
					f.inFile(a)
					natstest.Eventually(t, func() bool { r := f.inspect()[torn]; return r.SnapshotSeq == r.Last }, "there is a snapshot of all of it: %v", f)
				}
				snapshot()
				a.drain()
				if err := os.CopyFS(filepath.Join(f.dir, "older"), os.DirFS(filepath.Join(f.dir, "a"))); err != nil {
					t.Fatal(err)
				}
				a = f.start("a")
				snapshot()
				natstest.Eventually(t, func() bool { return f.inspect()[torn].First > 1 }, "the log is trimmed: %v", f)
				a.drain()
				known := f.lastEvent()
				lose(f, early)
				left := f.lastEvent()
				f.change = func(c *Config) { c.SnapshotEvery, c.RestoreSpares = time.Hour, 1 }
				f.sendRange(number, number+9)
				var x *mate
				if dir == "a" {
					x = f.start(dir)
					f.halted(1)
				} else { // whoever starts with it has the snapshot in its place before it halts
					f.typed(0, "pause", "-partition", fmt.Sprint(torn))
				}
				if _, errs := f.adopts(1, filepath.Join(f.dir, dir)); !strings.Contains(errs, fmt.Sprintf("ends at event %d ", left)) || !strings.Contains(errs, fmt.Sprintf("up to event %d ", known)) ||
					!strings.Contains(errs, "-events-lost") {
					t.Errorf("a refusal says %s", errs)
				}
				if out, _ := f.adopts(0, filepath.Join(f.dir, dir), "-events-lost"); !strings.Contains(out, fmt.Sprintf("events %d to %d will never", left+1, known)) {
					t.Errorf("adopt says\n%s", out)
				}
				if x == nil {
					x = f.start(dir)
				}
				f.settled(x)
				f.sendRange(number+10, number+19)
				f.inFile(x)
				f.goesOnAfter(left, known)
				x.drain()
				f.settled(f.start(dir)) // it fits now
			})
		}
	}
}

// lastEvent is the number of the last event in EVENTS of the torn partition, 0 if that is empty.
func (f *fleet) lastEvent() uint64 {
	f.t.Helper()
	msg, err := f.broker.LastEvents(f.ctx(), torn)
	if err != nil {
		f.t.Fatal(err)
	}
	if msg == nil {
		return 0
	}
	number, err := strconv.ParseUint(msg.Header.Get(partition.HeaderLastEvent), 10, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return number
}

// goesOnAfter holds EVENTS to this: what was left, marks of which only the last one says the number after which events go on, so that an adoption that is killed can be
// repeated, and then every event from there on once, to the last one derived.
func (f *fleet) goesOnAfter(left, known uint64) {
	f.t.Helper()
	stream, err := f.broker.JS.Stream(f.ctx(), broker.EventsStream(torn))
	if err != nil {
		f.t.Fatal(err)
	}
	var marks, after []string
	last := known
	for seq := max(stream.CachedInfo().State.FirstSeq, 1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(f.ctx(), seq)
		if err != nil {
			f.t.Fatal(err)
		}
		numbers := msg.Header.Get(partition.HeaderFirstEvent) + " " + msg.Header.Get(partition.HeaderLastEvent)
		switch to, _ := strconv.ParseUint(msg.Header.Get(partition.HeaderLastEvent), 10, 64); {
		case string(msg.Data) == "[]":
			marks = append(marks, numbers)
		case len(marks) > 0:
			after = append(after, numbers)
			if !strings.HasPrefix(numbers, fmt.Sprint(last+1, " ")) {
				f.t.Errorf("after event %d comes a message with events %s", last, numbers)
			}
			last = to
		}
	}
	n := len(marks) - 1
	if n < 0 || marks[n] != fmt.Sprint(known, " ", known) || slices.ContainsFunc(marks[:n], func(m string) bool { return m != fmt.Sprint(left, " ", left) }) {
		f.t.Errorf("marks are %q, %d events are left, %d are known", marks, left, known)
	}
	if r := f.inspect()[torn]; len(after) == 0 || last != r.Events {
		f.t.Errorf("after the marks are events %q, and the last one derived is %d", after, r.Events)
	}
}
