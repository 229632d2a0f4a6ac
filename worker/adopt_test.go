package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/adopt"
	"github.com/triggerd/triggerd/worker/internal/partition"
)

const torn = 1 // the partition whose log loses its tail

// disaster is a log that was restored from a backup, without the messages that came after that.
type disaster struct {
	*fleet
	kept, lost uint64   // where it ended at the backup, and when it was lost
	before     []string // its events until then
}

// strike lets the log lose its tail while the workers run. They have applied, emitted and kept all of it.
func (f *fleet) strike(mates ...*mate) *disaster { return f.strikeAfter(func(uint64) {}, mates...) }

// strikeAfter does something before the tail is lost; it gets where the log ended at the backup.
func (f *fleet) strikeAfter(more func(kept uint64), mates ...*mate) *disaster {
	f.t.Helper()
	f.sendRange(1, 40)
	f.inFile(mates...)
	d := &disaster{fleet: f, kept: f.last(torn)}
	backup := natstest.TakeBackup(f.t, f.broker.Conn, broker.TriggersStream(torn))
	f.sendRange(41, 60)
	f.inFile(mates...)
	more(d.kept)
	d.lost, d.before = f.last(torn), f.emitted(torn)
	if err := f.broker.JS.DeleteStream(f.ctx(), broker.TriggersStream(torn)); err != nil {
		f.t.Fatal(err)
	}
	backup.Restore(f.t, f.broker.Conn)
	if last := f.last(torn); last >= d.lost || last < d.kept {
		f.t.Fatalf("the restored log ends at %d, at the backup it was %d, then %d", last, d.kept, d.lost)
	}
	d.kept = f.last(torn)
	return d
}

func (f *fleet) sendRange(from, to uint64) {
	for n := from; n <= to; n++ {
		f.send(torn, n)
	}
}

// inFile waits until the partition is applied, emitted and in the files of all mates, and no redirect waits: the log does not grow by ticks any more.
func (f *fleet) inFile(mates ...*mate) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool {
		r := f.inspect()[torn]
		for _, m := range mates {
			if m.checkpointed() != r.Applied {
				return false
			}
		}
		return r.State == "serving" && r.Pending == 0 && r.Applied == f.last(torn) && r.Emitted == r.Events && r.CheckpointSeq == r.Applied
	}, "all of it is in the file")
}

// checkpointed is what a mate's file reflects of the partition, as its owner or as its standby; 0 if it is neither.
func (m *mate) checkpointed() uint64 {
	for _, h := range m.all() {
		if s := h.Status(); s.Partition == torn {
			return s.CheckpointSeq
		}
	}
	return 0
}

func (f *fleet) halted(mates int) {
	f.t.Helper()
	natstest.Eventually(f.t, func() bool { r := f.inspect()[torn]; return len(r.Halted) == mates }, "the partition is halted by %d workers", mates)
	for _, cause := range f.inspect()[torn].Halted {
		if !strings.Contains(cause, "worker adopt") {
			f.t.Errorf("it does not say what to type: %s", cause)
		}
	}
}

// counted is the sum of a counter's series that have all these values of labels.
func (m *mate) counted(name string, labels ...string) (sum float64) {
	m.t.Helper()
	families, err := m.reg.Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range families {
		for _, series := range f.GetMetric() {
			var has []string
			for _, l := range series.GetLabel() {
				has = append(has, l.GetValue())
			}
			if f.GetName() == name && !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(has, l) }) {
				sum += series.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// goesOn holds the partition, after it was adopted and has got new triggers, to what its log leads to.
func (d *disaster) goesOn(m *mate, number uint64) {
	d.t.Helper()
	natstest.Eventually(d.t, func() bool { return d.inspect()[torn].State == "serving" }, "it is served")
	resumed := d.last(torn)
	if resumed <= d.lost {
		d.t.Errorf("the log goes on at %d, and %d was handed out", resumed+1, d.lost)
	}
	d.sendRange(number, number+10)
	d.inFile(m)
	for d.stop = func() {}; ; {
		last := d.last(torn)
		digest, ok := d.digest(torn, last, []*mate{m})
		want, fresh := d.reference(torn, last), d.replay(torn, last)
		events := d.timeline()
		if !ok || d.last(torn) != last { // a tick came in between
			continue
		}
		if diff := cmp.Diff(want, events); diff != "" {
			d.t.Errorf("events are not those that the log leads to (-want +got):\n%.3000s", diff)
		}
		if digest != fresh {
			d.t.Errorf("digest is %016x, that of a replay %016x", digest, fresh)
		}
		return
	}
}

// timeline reads EVENTS as its readers do: an empty message says at which number events go on. What it takes back, and what comes later, is
// held to never giving a trigger an id that another one had.
func (d *disaster) timeline() (events []string) {
	d.t.Helper()
	stream, err := d.broker.JS.Stream(d.ctx(), broker.EventsStream(torn))
	if err != nil {
		d.t.Fatal(err)
	}
	marks := 0
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		msg, err := stream.GetMsg(d.ctx(), seq)
		if err != nil {
			d.t.Fatal(err)
		}
		var batch []json.RawMessage
		if err := json.Unmarshal(msg.Data, &batch); err != nil {
			d.t.Fatal(err)
		}
		first, _ := strconv.Atoi(msg.Header.Get(partition.HeaderFirstEvent))
		last, _ := strconv.Atoi(msg.Header.Get(partition.HeaderLastEvent))
		if len(batch) == 0 {
			marks++
			events = events[:last]
			continue
		}
		if first != len(events)+1 || last != len(events)+len(batch) {
			d.t.Fatalf("message %d carries events %d to %d after %d", seq, first, last, len(events))
		}
		for _, e := range batch {
			events = append(events, string(e))
			if marks > 0 {
				d.isNew(e)
			}
		}
	}
	if marks != 1 {
		d.t.Errorf("%d marks", marks)
	}
	return events
}

// isNew: what is emitted after an adoption follows from a trigger that was kept, or from one whose sequence nobody had before.
func (d *disaster) isNew(event []byte) {
	var e struct{ ID string }
	if err := json.Unmarshal(event, &e); err != nil {
		d.t.Fatal(err)
	}
	id, err := record.ParseID(strings.TrimSuffix(e.ID, "-r"))
	if err != nil || id.Position.Seq > d.kept && id.Position.Seq <= d.lost {
		d.t.Errorf("event of %s after the adoption, %v; lost were %d to %d", e.ID, err, d.kept+1, d.lost)
	}
}

// A log that lost its tail halts its partition, also on the standby. Once it is adopted it goes on: no sequence is used twice, events go on without one that
// is lost or doubled, and the state is what the log leads to. What no longer fits is put aside, wherever it is.
func TestAdopt(t *testing.T) {
	f := newFleet(t)
	a, b := f.start("a"), f.start("b")
	f.settled(a, b)
	d := f.strike(a, b)
	f.halted(2)
	out, _ := f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", filepath.Join(f.dir, "a"), "-margin", "50")
	for _, want := range []string{"halted everywhere", fmt.Sprintf("the file stands at %d", d.lost), "put aside", "events go on after", "is resumed"} {
		if !strings.Contains(out, want) {
			t.Errorf("adopt does not say %q:\n%s", want, out)
		}
	}
	if last := f.last(torn); last < d.lost+50 {
		t.Errorf("the log ends at %d, lost was %d", last, d.lost)
	}
	f.halted(1) // b's file reflects what is lost as well
	before := f.last(torn)
	f.typed(0, "pause", "-partition", fmt.Sprint(torn))
	f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", filepath.Join(f.dir, "b"), "-margin", "0")
	if last := f.last(torn); last > before+2 { // but for a tick of the adoption, and one of the owner
		t.Errorf("a file more took the log from %d to %d", before, last)
	}
	natstest.Eventually(t, func() bool { r := f.inspect()[torn]; return len(r.Halted) == 0 && r.Standby != "" }, "both have it again")
	owner := a
	if f.inspect()[torn].Owner == b.id() {
		owner = b
	}
	d.goesOn(owner, 61)
	for _, name := range []string{"a", "b"} {
		if aside, err := filepath.Glob(filepath.Join(f.dir, name, "worker", "partition-1.db.adopted-*")); err != nil || len(aside) != 1 {
			t.Errorf("%s has put aside %v, %v", name, aside, err)
		}
		if rest, err := filepath.Glob(filepath.Join(f.dir, name, "worker", "*.adopting*")); err != nil || len(rest) != 0 {
			t.Errorf("%s has left %v, %v", name, rest, err)
		}
	}
}

// Triggers that were accepted between the restore and the adoption are applied too, although their numbers of events are those of lost ones.
func TestAdoptWhatCameMeanwhile(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	f.settled(a)
	d := f.strike(a)
	f.halted(1)
	if out, all := a.counted("triggerd_worker_moves_total", "out", causeHalted), a.counted("triggerd_worker_halts_total"); out != 1 || all != 1 {
		t.Errorf("%v moves out, %v halts", out, all)
	}
	f.sendRange(61, 65)
	d.kept = f.last(torn)
	f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", t.TempDir(), "-margin", "50", "-seen", fmt.Sprint(d.lost))
	f.halted(1) // its own file was not the one that was looked at
	f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", filepath.Join(f.dir, "a"), "-margin", "0")
	d.goesOn(a, 66)
}

// adopted is an adoption as the command does it, of a directory of files.
func (f *fleet) adopted(dir string, margin uint64, change func(*adopt.Deps)) error {
	deps := adopt.Deps{Broker: f.broker}
	change(&deps)
	_, err := adopt.Run(f.ctx(), adopt.Config{Partition: torn, Path: filepath.Join(dir, "worker", "partition-1.db"), Margin: margin, Who: "ann"}, deps)
	return err
}

// An adoption that is killed after any of its steps is done again from the start: nothing that was seen only before is forgotten.
func TestAdoptAgainAfterACrash(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	f.settled(a)
	d := f.strike(a)
	f.halted(1)
	a.drain()
	killed := errors.New("killed")
	for _, last := range adopt.Steps[:len(adopt.Steps)-1] {
		err := f.adopted(t.TempDir(), 1, func(deps *adopt.Deps) { // no file knows what was lost, events do
			deps.Failpoint = func(step string) error {
				if step == last {
					return killed
				}
				return nil
			}
		})
		if !errors.Is(err, killed) {
			t.Fatalf("after %s: %v", last, err)
		}
		if !f.order(torn).Paused() {
			t.Errorf("after %s it is not paused", last)
		}
	}
	if err := f.adopted(t.TempDir(), 50, func(*adopt.Deps) {}); err != nil { // events do not know of the ticks that came last
		t.Fatal(err)
	}
	d.goesOn(f.start("b"), 61)
}

// Of two adoptions the later one goes on, wherever the first one is; that changes nothing more, although the partition is run again by now.
func TestAdoptTwiceAtOnce(t *testing.T) {
	for _, at := range adopt.Steps[:len(adopt.Steps)-1] {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			a := f.start("a")
			f.settled(a)
			d := f.strike(a)
			f.halted(1)
			var other error
			err := f.adopted(filepath.Join(f.dir, "a"), 50, func(deps *adopt.Deps) {
				deps.Failpoint = func(step string) error {
					if step == at {
						other = f.adopted(filepath.Join(f.dir, "a"), 50, func(*adopt.Deps) {})
						natstest.Eventually(t, func() bool { return f.inspect()[torn].State == "serving" }, "it is served")
						f.sendRange(61, 65)
						f.inFile(a)
					}
					return nil
				}
			})
			if other != nil || !errors.Is(err, adopt.ErrInUse) {
				t.Errorf("the first one %v, the second one %v", err, other)
			}
			d.goesOn(a, 66)
		})
	}
}

// Snapshots of what is lost are not believed: they are taken off the list, whereupon the partition begins with what there is.
func TestAdoptDropsSnapshots(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	f.settled(a)
	d := f.strikeAfter(func(kept uint64) {
		a.drain()
		f.change = often
		a = f.start("a")
		natstest.Eventually(t, func() bool { return f.inspect()[torn].SnapshotSeq > kept }, "there is a snapshot of what is going to be lost")
	}, a)
	f.halted(1)
	a.drain()
	out, _ := f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", filepath.Join(f.dir, "a"), "-margin", "50")
	if !strings.Contains(out, "taken off the list") || !strings.Contains(out, "replaying from the first message") {
		t.Errorf("adopt says\n%s", out)
	}
	f.change = nil
	d.goesOn(f.start("a"), 61)
}

// What another program wrote into EVENTS is not believed, although its numbers are right; an adoption puts a mark behind it.
func TestAdoptAfterForeignEvents(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	f.settled(a)
	f.sendRange(1, 10)
	f.inFile(a)
	number := []string{fmt.Sprint(f.inspect()[torn].Events)}
	if _, err := f.broker.JS.PublishMsg(f.ctx(), &nats.Msg{Subject: broker.EventsSubject(torn), Data: []byte("[]"), Header: nats.Header{
		partition.HeaderFirstEvent: number, partition.HeaderLastEvent: number, partition.HeaderFollowedFrom: {"1 2 0000000000000003"}}}); err != nil {
		t.Fatal(err)
	}
	f.sendRange(11, 20)
	f.halted(1)
	f.typed(0, "adopt", "-partition", fmt.Sprint(torn), "-data-dir", filepath.Join(f.dir, "a"), "-margin", "5")
	f.settled(a)
	f.sendRange(21, 30)
	f.inFile(a)
}

// Without need nothing is adopted, and without a base neither.
func TestAdoptRefuses(t *testing.T) {
	f := newFleet(t)
	a := f.start("a")
	f.settled(a)
	f.sendRange(1, 10)
	f.inFile(a)
	dir := filepath.Join(f.dir, "a")
	if _, errs := f.typed(1, "adopt", "-partition", "1", "-data-dir", dir); !strings.Contains(errs, "worker pause -partition 1") {
		t.Errorf("a partition that is served: %s", errs)
	}
	if f.order(1).Revision != 0 {
		t.Error("a refusal has paused it")
	}
	f.typed(0, "pause", "-partition", "1")
	f.typed(0, "adopt", "-partition", "1", "-data-dir", dir, "-margin", "5") // does no harm
	f.settled(a)
	if got, want := f.emitted(1), f.reference(1, f.last(1)); len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	a.drain()
	if err := f.broker.JS.DeleteStream(f.ctx(), broker.TriggersStream(1)); err != nil {
		t.Fatal(err)
	}
	if _, errs := f.typed(1, "adopt", "-partition", "1", "-data-dir", dir); !strings.Contains(errs, "restore it from a backup") {
		t.Errorf("a log that is missing: %s", errs)
	}
}
