package machine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

func trigger(user string, wait machine.Millis) record.Record {
	return record.Record{Kind: record.Trigger, Account: []byte("demo"), User: []byte(user), Redirect: true, HasModule: true, Module: 2, Wait: wait}
}

func register(user string) record.Record {
	return record.Record{Kind: record.Register, Account: []byte("demo"), User: []byte(user)}
}

// at is a message of the writer A at the same time on both clocks.
func at(seq uint64, now machine.Millis, number uint64, records ...record.Record) machine.Message {
	return machinetest.Message(seq, now, record.Batch{Writer: "A", Number: number, Time: now}, records...)
}

// sick is a Store whose reads fail from some point on.
type sick struct {
	*machinetest.Memory
	user, due, batch error
	vanished         bool // users are not there any more
	corrupt          bool // users are there and do not know what waits
	explode          bool
}

func (s *sick) User(account, user []byte) (*machine.User, error) {
	switch {
	case s.explode:
		panic("the store has a bug")
	case s.vanished:
		return nil, s.user
	case s.corrupt:
		return &machine.User{}, s.user
	}
	u, _ := s.Memory.User(account, user)
	return u, s.user
}

func (s *sick) NextDue() (machine.Due, []byte, []byte, bool, error) {
	d, account, user, ok, _ := s.Memory.NextDue()
	return d, account, user, ok, s.due
}

func (s *sick) Batch(writer string, number uint64) (uint64, bool, error) { return 0, false, s.batch }

// started is a machine that knows alice, who has a redirect waiting at 2000, over a store that can fall ill.
func started(t *testing.T) (*machine.Machine, *sick) {
	st := &sick{Memory: machinetest.NewMemory()}
	m := machine.New(partition, machine.Head{}, st)
	for _, msg := range []machine.Message{
		machinetest.Configure(1000, machinetest.Defaults),
		at(2, 1000, 1, register("alice"), trigger("alice", 1000)),
	} {
		if _, err := m.Apply(msg, func(*machine.Event) {}); err != nil {
			t.Fatal(err)
		}
	}
	return m, st
}

// What makes the state doubtful stops the partition. It is never a dead letter, and never taken for "not there".
func TestHalts(t *testing.T) {
	disk := errors.New("disk on fire")
	tests := []struct {
		name  string
		fall  func(*sick)
		msg   machine.Message
		cause error
		text  string
	}{
		{"user cannot be read", func(s *sick) { s.user = disk }, at(3, 1500, 2, trigger("alice", 0)), disk, "read user"},
		{"user of an unreadable record cannot be read", func(s *sick) { s.user = disk },
			machinetest.Raw(3, 1500, record.Batch{Writer: "w", Time: 1500}, []byte(`{"type":"trigger","account":"demo","user":"alice","x":1}`)), disk, "read user"},
		{"user of a due redirect cannot be read", func(s *sick) { s.user = disk }, at(3, 2000, 2, record.Record{Kind: record.Tick}), disk, "read user"},
		{"due index cannot be read", func(s *sick) { s.due = disk }, at(3, 1500, 2, record.Record{Kind: record.Tick}), disk, "read due index"},
		{"batch number cannot be read", func(s *sick) { s.batch = disk }, at(3, 1500, 1, trigger("alice", 0)), disk, "read batch number"},
		{"user of a due redirect is gone", func(s *sick) { s.vanished = true }, at(3, 2000, 2, record.Record{Kind: record.Tick}), nil, "2-1 is due for a user who does not exist"},
		{"user does not know of the redirect", func(s *sick) { s.corrupt = true }, at(3, 2000, 2, record.Record{Kind: record.Tick}), nil, "2-1 is due and is not the first that its user waits for"},
		{"position repeated", func(s *sick) {}, at(2, 1500, 2, trigger("alice", 0)), nil, "not after 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, st := started(t)
			tt.fall(st)
			_, err := m.Apply(tt.msg, func(*machine.Event) {})
			if !errors.Is(err, machine.ErrHalt) || tt.cause != nil && !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got error %v", err)
			}
			if dead, _ := st.DeadLetters(1); len(dead) > 0 {
				t.Errorf("a dead letter was made: %+v", dead)
			}
			*st = sick{Memory: st.Memory}
			if _, again := m.Apply(at(9, 1500, 9), nil); again != err {
				t.Errorf("the next message got %v, want the same error", again)
			}
			if m.Head().Applied != 2 {
				t.Errorf("applied is %d", m.Head().Applied)
			}
		})
	}
}

// A head written by a newer program must not be judged by an older one.
func TestHeadOfUnknownMachineHalts(t *testing.T) {
	head := machine.Head{Configured: true, Limits: record.Limits{Machine: machine.Version + 1}}
	_, err := machine.New(partition, head, machinetest.NewMemory()).Apply(at(1, 1000, 1, register("alice")), nil)
	if !errors.Is(err, machine.ErrHalt) {
		t.Fatalf("got error %v", err)
	}
}

// A bug of the Store, or of who takes the events, says nothing about the record.
func TestPanicsFromOutsideAreNotRecovered(t *testing.T) {
	mustPanic := func(t *testing.T, do func()) {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		do()
	}
	t.Run("store", func(t *testing.T) {
		m, st := started(t)
		st.explode = true
		mustPanic(t, func() { m.Apply(at(3, 1500, 2, trigger("alice", 0)), func(*machine.Event) {}) })
	})
	t.Run("emit", func(t *testing.T) {
		m, _ := started(t)
		mustPanic(t, func() { m.Apply(at(3, 1500, 2, trigger("alice", 0)), func(*machine.Event) { panic("emit") }) })
	})
}

func TestResultCounts(t *testing.T) {
	m, _ := started(t)
	m.PanicFor("mallory")
	apply := func(msg machine.Message) machine.Result {
		r, err := m.Apply(msg, func(*machine.Event) {})
		if err != nil {
			t.Fatal(err)
		}
		if r.Panic != nil {
			if !strings.Contains(r.Panic.Error(), "boom") || r.PanicTrace != "mallory's trace" {
				t.Errorf("panic is %v, of %q", r.Panic, r.PanicTrace)
			}
			r.Panic, r.PanicTrace = nil, ""
		}
		return r
	}
	batch := []record.Record{
		trigger("alice", 0), trigger("alice", 5000), trigger("nobody", 0), {Kind: record.Trigger, Account: []byte("demo"), User: []byte("alice")},
		register("bob"), {Kind: record.Delete, Account: []byte("demo"), User: []byte("nobody")}, {Kind: record.Delete, Account: []byte("demo"), User: []byte("alice")},
		trigger("mallory", 0), {Kind: record.Tick},
	}
	batch[7].Trace = []byte("mallory's trace")
	got := []machine.Result{
		apply(machinetest.Message(3, 2100, record.Batch{Writer: "A", Number: 2, Time: 2000}, batch...)),
		apply(machinetest.Message(4, 2100, record.Batch{Writer: "A", Number: 2, Time: 2100}, batch...)),
		apply(machine.Message{Seq: 5, Time: 2100}),
	}
	want := []machine.Result{
		{Records: 9, Triggers: 5, Redirected: 2, Updated: 1, Scheduled: 1, Rejected: 2, Registered: 1, Deleted: 1, Refused: 1, Fired: 1, Cancelled: 1, DeadLetters: 1, Control: 1, ClockSkew: 100},
		{Records: 9, Duplicates: 9, SkippedBatch: true},
		{DeadLetters: 1, Unreadable: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

// A head is stored while the machine goes on.
func TestHeadIsACopy(t *testing.T) {
	m, _ := started(t)
	head := m.Head()
	if _, err := m.Apply(at(3, 1500, 2, trigger("alice", 0)), func(*machine.Event) {}); err != nil {
		t.Fatal(err)
	}
	if head.Writers["A"].Number != 1 || head.Applied != 2 {
		t.Errorf("the head changed afterwards: %+v", head)
	}
}

// The generator is worth its name only if its logs lead everywhere.
func TestDrawnLogsReachEverything(t *testing.T) {
	missing := []string{
		" scheduled reason", " applied reason", " redirected reason", " rejected reason", " duplicate reason",
		machine.ReasonUnknownUser, machine.ReasonTooMuchState, machine.ReasonTooManyPending, machine.ReasonUserDeleted, machine.ReasonPoison,
		machine.DeadBatch, machine.DeadRecord, "later outcome", "pending ", `-r"`, "of=0-0", "forgotten",
	}
	draw := rapid.Custom(machinetest.Log)
	for seed := range 300 {
		r := newRun()
		log := draw.Example(seed)
		r.applyAll(t, log)
		seen := r.dump()
		if writersOf(log) > len(r.Head().Writers) {
			seen += "forgotten"
		}
		missing = slices.DeleteFunc(missing, func(what string) bool { return strings.Contains(seen, what) })
	}
	if len(missing) > 0 {
		t.Errorf("not reached: %q", missing)
	}
}

func writersOf(log []machine.Message) int {
	writers := make(map[string]bool)
	for _, msg := range log {
		if b, err := record.ParseBatch(msg.Header, msg.Payload); err == nil && b.Number != 0 {
			writers[b.Writer] = true
		}
	}
	return len(writers)
}
