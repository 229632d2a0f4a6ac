package machine_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// stage is where a scenario is acted out: a machine whose Store takes notes.
type stage struct {
	t          *testing.T
	lineNumber int
	machine    *machine.Machine
	*machinetest.Memory
	now     *envelope // being written: the next line may join it
	telling bool      // in a when-part
	seq     uint64
	sent    map[uint64]*envelope
	users   map[[2]string]bool // who was ever mentioned
	story   strings.Builder
	halted  bool
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, Memory: machinetest.NewMemory(), users: make(map[[2]string]bool), sent: make(map[uint64]*envelope)}
	s.machine = machine.New(partition, machine.Head{}, s)
	return s
}

// do acts out one line.
func (s *stage) do(number int, telling bool, line string) {
	s.lineNumber = number
	if more, ok := strings.CutPrefix(line, "+ "); ok {
		if s.now == nil {
			s.fail("no message to join")
		}
		s.now.lines = append(s.now.lines, s.line(s.now, strings.TrimSpace(more)))
		return
	}
	s.flush()
	s.telling = telling
	switch verb, rest, _ := strings.Cut(line, " "); verb {
	case "ask":
		s.ask(rest)
	case "panic":
		s.machine.PanicFor(rest)
	default:
		s.begin(line)
	}
}

// begin opens a message. A scenario that doesn't care about limits has the usual ones.
func (s *stage) begin(line string) {
	sentence, e := s.envelope(line)
	if s.seq == 0 && !strings.HasPrefix(sentence, "limits") && !strings.HasPrefix(sentence, "unconfigured") {
		s.seq++
		_, err := s.machine.Apply(machinetest.Configure(e.at, machinetest.Defaults), nil)
		s.check(err)
	}
	sentence = strings.TrimPrefix(sentence, "unconfigured ")
	if of, ok := strings.CutPrefix(sentence, "copy of message "); ok {
		seq, err := strconv.ParseUint(of, 10, 64)
		s.check(err)
		copied := *s.sent[seq]
		copied.at = e.at
		s.now = &copied
		return
	}
	e.lines = [][]byte{s.line(e, sentence)}
	s.now = e
}

// flush applies the message that is being written.
func (s *stage) flush() {
	if s.now == nil || s.halted {
		return
	}
	s.seq++
	e := s.now
	s.now, s.sent[s.seq] = nil, e
	s.note("%s message %d", clockText(e.at), s.seq)
	_, err := s.machine.Apply(e.message(s.seq), s.onEvent)
	if err != nil {
		s.halted = true
		s.note("  HALTED: %v", err)
	}
}

// then ends a when-part: what happened, and how things stand.
func (s *stage) then() string {
	s.flush()
	if !s.halted {
		s.tellUsers()
	}
	story := s.story.String()
	s.story.Reset()
	return story
}

func (s *stage) note(format string, args ...any) {
	if s.telling {
		fmt.Fprintf(&s.story, "  "+format+"\n", args...)
	}
}

func (s *stage) onEvent(e *machine.Event) {
	half := ""
	if e.Second {
		half = "-r"
	}
	var set strings.Builder
	for _, v := range e.Vars {
		fmt.Fprintf(&set, ", %s=%s", v.Name, v.Value)
	}
	if e.Reason != "" {
		fmt.Fprintf(&set, ", because %s", e.Reason)
	}
	if len(e.Trace) > 0 {
		fmt.Fprintf(&set, ", traced %s", e.Trace)
	}
	s.note("  event %d at %s: %s %s%s %s, %s to %s of %s, version %d%s", e.Number, clockText(e.Time), e.Kind,
		machinetest.Pos(e.Position), half, who(string(e.Account), string(e.User)),
		moduleText(e.ModuleBefore), moduleText(e.ModuleAfter), orNone(e.Bot), e.Version, &set)
}

func (s *stage) PutOutcomes(hour int64, seq uint64, outs []machine.Outcome) {
	for _, out := range outs {
		s.note("  %s", outcomeText(out))
	}
	s.Memory.PutOutcomes(hour, seq, outs)
}

func (s *stage) PutOutcome(hour int64, out machine.Outcome) {
	s.note("  %s", outcomeText(out))
	s.Memory.PutOutcome(hour, out)
}

func (s *stage) PutDeadLetter(d machine.DeadLetter) {
	s.note("  dead letter %s of %s, %s: %s", machinetest.Pos(d.Position), orNone(d.Account), d.Reason, d.Data)
	s.Memory.PutDeadLetter(d)
}

func (s *stage) User(account, user []byte) (*machine.User, error) {
	s.users[[2]string{string(account), string(user)}] = true
	return s.Memory.User(account, user)
}

// ask is what somebody would be answered who asks for an outcome.
func (s *stage) ask(id string) {
	parsed, err := record.ParseID(fmt.Sprintf("%d-%s", partition, id))
	s.check(err)
	out, ok, err := s.Outcome(parsed.Position)
	s.check(err)
	if !ok {
		s.note("asked for %s: not remembered", id)
		return
	}
	s.note("asked for %s: %s", id, outcomeText(out))
}

func outcomeText(o machine.Outcome) string {
	text := fmt.Sprintf("%s %s %s: %s", machinetest.Pos(o.Position), o.Kind, who(o.Account, o.User), o.Status)
	switch o.Status {
	case machine.Rejected:
		text += ", " + o.Reason
	case machine.Duplicate:
		text += " of " + machinetest.Pos(o.DuplicateOf)
	}
	return fmt.Sprintf("%s, version %d, accepted %s, applied %s", text, o.UserVersion, clockText(o.AcceptedAt), clockText(o.AppliedAt))
}

// tellUsers shows everybody who was mentioned so far.
func (s *stage) tellUsers() {
	s.telling = true
	if n, most := s.machine.Keys(); most > 0 {
		s.note("%d of %d keys are taken", n, most)
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.users), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		u, err := s.Memory.User([]byte(k[0]), []byte(k[1]))
		s.check(err)
		s.tellUser(who(k[0], k[1]), u)
	}
}

func (s *stage) tellUser(name string, u *machine.User) {
	if u == nil {
		s.note("%s is not known", name)
		return
	}
	module := int64(0)
	if u.HasModule {
		module = u.Module
	}
	s.note("%s is at %s of %s, version %d, changed %s", name, moduleText(module), orNone(u.Bot), u.Version, clockText(u.UpdatedAt))
	for _, v := range u.Vars {
		s.note("  %s=%s", v.Name, v.Value)
	}
	for _, p := range u.Pending {
		s.note("  will go to %d of %s at %s (%s)", p.Module, orNone(p.Bot), clockText(p.Due.At), machinetest.Pos(p.Due.Position))
	}
	for _, c := range u.Changes {
		s.note("  %s changed it at %s: %s to %s, variables %v", machinetest.Pos(c.ID), clockText(c.At),
			moduleText(c.ModuleBefore), moduleText(c.ModuleAfter), c.Variables)
	}
}

func who(account, user string) string {
	if account == "demo" {
		return user
	}
	return account + "/" + user
}

func moduleText(m int64) string {
	if m == 0 {
		return "nowhere"
	}
	return strconv.FormatInt(m, 10)
}

func orNone(s string) string {
	if s == "" {
		return "nobody"
	}
	return s
}

func diffLines(want, got string) string {
	return cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n"))
}
