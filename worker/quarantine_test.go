package worker

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/worker/internal/control"
)

const poisoned = 1 // the partition

// poison appends to every partition, and returns the position in the poisoned one that is going to end processes, with messages on both sides of it.
func (f *fleet) poison() (seq uint64) {
	f.t.Helper()
	for n := uint64(1); n <= 30; n++ {
		for p := range shares {
			f.send(p, n)
		}
		if n == 20 {
			seq = f.last(poisoned)
		}
	}
	return seq
}

func (f *fleet) order(p int) *control.Order {
	f.t.Helper()
	order, err := control.Read(f.ctx(), f.broker, p)
	if err != nil {
		f.t.Fatal(err)
	}
	return order
}

// A message that ends processes with a fatal error is stopped as soon as two of them are known: what ended in a home is known when it starts again. From then on its partition stands still and
// says what to do, the others go on, accepting does too, and what came before it is emitted and kept. A build that can apply it does so after a resume.
//
// Without the check before applying the last process dies like the others.
func TestMessageThatKillsIsQuarantined(t *testing.T) {
	for name, homes := range map[string][]string{"one home": {"a", "a", "a"}, "two homes": {"a", "b", "a", "b"}} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			seq := f.poison()
			meets := fmt.Sprint("crash ", poisoned, " ", seq)
			survivor := homes[len(homes)-1]
			for _, home := range homes[:len(homes)-1] {
				f.spawn(home, meets).dies()
			}
			last := f.spawn(survivor, meets).says("ready")
			f.isQuarantined(seq)
			for p := range shares {
				f.send(p, 31)
			}
			for p, r := range f.inspect() {
				if p != poisoned {
					natstest.Eventually(t, func() bool { return f.inspect()[p].Applied >= f.last(p) }, "partition %d goes on: %+v", p, r)
				}
			}
			last.kill()
			a := f.start(survivor)
			<-a.Ready()
			f.isQuarantined(seq) // also for the build that could apply it
			out, _ := f.typed(0, "resume", "-partition", fmt.Sprint(poisoned))
			if !strings.Contains(out, "was in quarantine") || !strings.Contains(out, fmt.Sprint("message ", seq)) {
				t.Errorf("resume says %q", out)
			}
			f.stop = func() {}
			f.audit(a)
			if o := f.order(poisoned); len(o.Suspects) != 0 {
				t.Errorf("after all there are suspects %+v", o.Suspects)
			}
			if kept, err := filepath.Glob(filepath.Join(f.dir, "a", "worker", "crash-*")); err != nil || len(kept) != 3-len(homes)/2 {
				t.Errorf("crashes kept are %v, %v", kept, err)
			}
		})
	}
}

// isQuarantined holds what an operator sees to what he needs.
func (f *fleet) isQuarantined(seq uint64) {
	f.t.Helper()
	var r row
	natstest.Eventually(f.t, func() bool { r = f.inspect()[poisoned]; return r.State == "halted" && len(r.Halted) == 1 }, "the partition halts")
	if !strings.Contains(r.Quarantined, fmt.Sprintf("message %d ended 2 processes: crash in home", seq)) || !strings.Contains(r.Quarantined, "worker.overflow(") {
		f.t.Errorf("quarantine is %q", r.Quarantined)
	}
	for _, cause := range r.Halted {
		for _, want := range []string{fmt.Sprintf("message %d is in quarantine", seq), fmt.Sprintf("everything before message %d is applied", seq),
			fmt.Sprintf("worker resume -partition %d", poisoned)} {
			if !strings.Contains(cause, want) {
				f.t.Errorf("cause does not say %q: %s", want, cause)
			}
		}
	}
	want := f.reference(poisoned, seq-1)
	if got := f.emitted(poisoned); len(got) != len(want) {
		f.t.Errorf("%d events are emitted, of %d before the message", len(got), len(want))
	}
}

// Who is killed at one position in two homes proves nothing; in one home twice it does, because that is what running out of memory looks like. And
// one kill is forgotten once the message is passed.
func TestKillsAtOnePosition(t *testing.T) {
	f := newFleet(t)
	seq := f.poison()
	block := fmt.Sprint("block ", poisoned, " ", seq)
	suspect := func(reports int, guilty bool) {
		t.Helper()
		var s control.Suspect
		natstest.Eventually(t, func() bool { s, _ = f.order(poisoned).Suspect(seq); return len(s.Reports) == reports }, "%d reports", reports)
		if s.Guilty() != guilty {
			t.Errorf("guilty is %v: %s", s.Guilty(), s)
		}
	}
	f.spawn("a", block).says("blocked").kill()
	f.spawn("b", block).says("blocked").kill()
	f.spawn("a", block).says("blocked").kill() // and reports the first kill in a
	suspect(1, false)
	f.spawn("b", block).says("blocked").kill()
	suspect(2, false)
	f.spawn("a", "none 0 0").says("ready").kill()
	suspect(3, true)
	f.typed(0, "resume", "-partition", fmt.Sprint(poisoned))
	f.spawn("c", block).says("blocked").kill()
	f.spawn("c", "none 0 0").says("ready")
	natstest.Eventually(t, func() bool { return len(f.order(poisoned).Suspects) == 0 && f.inspect()[poisoned].Applied > seq }, "the message is acquitted")
}

// Processes that are killed at random, many times, under load, bring nothing into quarantine.
func TestRandomKillsAreHarmless(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := newFleet(t)
	f.load()
	for range 12 {
		p := f.spawn("a", "none 0 0")
		if random.IntN(2) == 0 {
			p.says("ready")
		}
		<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
		p.kill()
	}
	a := f.start("a")
	f.audit(a)
	for p := range shares {
		if s, ok := f.order(p).Quarantined(); ok {
			t.Errorf("partition %d: %s", p, s)
		}
	}
}
