package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/triggerd/triggerd/shared/natstest"
)

var (
	seed = flag.Uint64("seed", 0, "of the run; 0 takes a random one")
	long = flag.Duration("for", 0, "how long to strike at random; 0 runs each nemesis once")
	only = flag.String("only", "", "run the nemeses with this in their name only")
	idle = flag.Int("users", 0, "how many idle users to register first; for what takes longer the more there are")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hold adapts natstest.Proxy.
type hold struct{ *natstest.Proxy }

func (h hold) Stall() { h.Hold() }
func (h hold) Flow()  { h.Release() }

// The short form strikes once with each nemesis, in their order. The long form (-for) strikes at random until its time is over. Either way the
// deployment must come to rest by itself then, and every trigger must have had its effect, once and in order.
//
// It was seen to fail without what it is to protect. Each of these was taken out once, and put back:
//
//   - The expected sequence of what is put into EVENTS-p (partition/sender.go). "freeze a worker" and "scale workers" alike: whoever is frozen, or leaves,
//     emits beside the next owner. "EVENTS-2: message 31 has sequence 31 and events 1 to 1, want 245 to 245", "event 2-19-0 is there twice", for every
//     event since the start, as the standby had kept them.
//
//   - Emit before checkpoint (partition/checkpoint.go). "kill the only worker", whose checkpoints are more frequent than its messages of events: the file is
//     ahead of the events, which nobody derives any more. The worker finds that out: "EVENTS-3 lost events: it ends at event 8 (message 2), acknowledged was
//     event 9", halts all partitions, and the test says that "partition 0 does not answer; partition 1 …". With a standby nothing is lost even so:
//     that one has not forgotten them.
//
//   - Batch numbers (machine.checkCopy). "cut an ingress off", whose last batch of each partition arrives again when the broker has forgotten it: "user-5-1: number 1
//     was applied twice, as 2-94-0 and 2-321-0", one for each partition.
//
//   - The lesser of two clocks (machine.enter). "set clocks", with a server an hour ahead: "number 1 was answered at 20:35:17.610, its event 2-22-0 is of
//     21:35:17.587", for all that follows, and then no redirect fires for an hour: "nothing new comes, and yet".
//
//   - The identity of a log (partition/identity.go: where it ends, and which message was applied last). "lose the tail of a log": "wait for partition 3 to be halted, and no
//     other", because it goes on, on another log's sequences.
//
//   - What worker adopt leaves out beyond what was seen (adopt/events.go). The same nemesis: "user-0-3: number 54 was sent after the log was adopted, and is 3-22-0: 17 to
//     37 were handed out before".
//
//   - What it says in EVENTS-p. The same nemesis: the partition halts once more, "wait for all partitions to serve".
//
//   - Looking through a file (partition/base.go). "damage a worker's files": "event 2-5132-0 is there twice", "redirect 0-4398-0-r fires, and waited for nothing",
//     as a user is not found who is there. By half of that (store/verify.go, where each entry is held to its own key) the partition halts: "redirect 735-0 is due for
//     a user who does not exist".
//
// One is out of this test's reach, because another protection is in front of it here. It was taken out as well:
//
//   - The position of a message (partition/source.go). A frozen worker whose log was trimmed gives up its consumer when it goes on, for want of heartbeats, and so
//     looks at the log anew. TestConsumerSkipsWhatWasTrimmed of package partition gets past that: "message 102 came after message 11", by the actor,
//     which has the same protection once more, and halts for good.
func TestChaos(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	r := start(t)
	rng := rand.New(rand.NewPCG(*seed, 0))
	if *long > 0 {
		r.fleet.Calm(t.Context(), calm)
	}
	if *long == 0 {
		for _, n := range r.chosen(Nemeses()) {
			if !n.Long || *only != "" {
				r.strike(n, rng)
			}
		}
	} else {
		r.storm(rng, *long)
	}
	r.audit()
}

// calm is long enough for the machine to show what it does by itself.
const calm = 15 * time.Second

// trial is a deployment under load, as a test.
type trial struct {
	t     *testing.T
	fleet *Fleet
	load  *Load
	begun time.Time
}

// start builds and starts everything.
func start(t *testing.T) *trial {
	t.Helper()
	r := &trial{t: t, begun: time.Now()}
	dir := keptDir(t)
	bin, err := Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	r.say("built")
	r.fleet, err = Start(t.Context(), Config{Dir: dir, Binaries: bin, Partitions: 4, Users: *idle, MemberTTL: 2 * time.Second,
		Patience: r.patience(), CutFor: r.cutFor(), Settle: *long > 0, Log: r.say,
		Proxy: func(target string) (Proxy, error) { return hold{natstest.NewProxy(t, target)}, nil },
		Backup: func(conn *nats.Conn, stream string) func() {
			b := natstest.TakeBackup(t, conn, stream)
			return func() { b.Restore(t, conn) }
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { r.say("measured:\n%s", r.fleet.Report()) })
	r.say("started")
	if r.load, err = r.fleet.StartLoad(t.Context(), *seed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.load.Stop)
	return r
}

// patience is for anything: the machine may be busy with other tests, and a cluster may have to elect several times.
func (r *trial) patience() time.Duration {
	return 3*time.Minute + time.Duration(*idle)*time.Millisecond/2
}

func (r *trial) say(format string, args ...any) {
	r.t.Helper()
	r.t.Logf("%8.3fs %s", time.Since(r.begun).Seconds(), fmt.Sprintf(format, args...))
}

// cutFor is long enough for connections to be given up for dead in the long form.
func (r *trial) cutFor() time.Duration {
	if *long > 0 {
		return 30 * time.Second
	}
	return 3 * time.Second
}

// chosen leaves out what -only does.
func (r *trial) chosen(all []Nemesis) (some []Nemesis) {
	for _, n := range all {
		if strings.Contains(n.Name, *only) {
			some = append(some, n)
		}
	}
	if len(some) == 0 {
		r.t.Fatalf("no nemesis has %q in its name", *only)
	}
	return some
}

func (r *trial) strike(n Nemesis, rng *rand.Rand) {
	r.t.Helper()
	if err := r.fleet.Strike(r.t.Context(), n, rng); err != nil {
		r.t.Fatal(err)
	}
}

// storm strikes until the time is over: rounds in which each nemesis comes as often as it is worth, in a random order.
func (r *trial) storm(rng *rand.Rand, duration time.Duration) {
	r.t.Helper()
	struck, begun := map[string]int{}, time.Now()
	for time.Since(begun) < duration {
		var round []Nemesis
		for _, n := range r.chosen(Nemeses()) {
			for range n.Often {
				round = append(round, n)
			}
		}
		rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		for _, n := range round {
			if time.Since(begun) >= duration {
				break
			}
			struck[n.Name]++
			r.say("%s, for the %d. time", n.Name, struck[n.Name])
			r.strike(n, rng)
		}
	}
	r.say("struck %v", struck)
}

// audit stops the load and holds it against what came of it.
func (r *trial) audit() {
	r.t.Helper()
	r.load.Stop()
	r.say("the load: %s", r.load.Summary())
	faults, err := r.fleet.Audit(r.t.Context(), r.load)
	if err != nil {
		r.t.Fatal(err)
	}
	const shown = 50
	for _, fault := range faults[:min(shown, len(faults))] {
		r.t.Error(fault)
	}
	r.say("audited: %d faults", len(faults))
}

// keptDir is a directory that stays if the test fails.
func keptDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "triggerd-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("everything is kept in %s", dir)
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, name := range logs {
			t.Logf("end of %s:\n%s", name, tail(name, 15))
		}
	})
	return dir
}

// tail is the last lines of a file.
func tail(name string, lines int) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
