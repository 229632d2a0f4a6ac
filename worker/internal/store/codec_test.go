package store

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

var names = rapid.StringMatching(`[a-z]{1,3}`)

// drawUser draws a user within the invariants of machine.User, with numbers at the ends of their ranges.
func drawUser(t *rapid.T) *machine.User {
	u := &machine.User{
		Bot: rapid.String().Draw(t, "bot"), Module: rapid.Int64().Draw(t, "module"), HasModule: rapid.Bool().Draw(t, "has module"),
		Version: rapid.Uint64().Draw(t, "version"), UpdatedAt: rapid.Int64().Draw(t, "updated"),
	}
	for _, name := range drawNames(t, 25) {
		value := rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "value")
		u.Vars = append(u.Vars, machine.Var{Name: name, Value: value})
		u.VarBytes += int64(len(name) + len(value))
	}
	for range rapid.IntRange(0, 4).Draw(t, "pending") {
		u.Pending = append(u.Pending, drawPending(t))
	}
	slices.SortFunc(u.Pending, func(a, b machine.Pending) int { return a.Due.Compare(b.Due) })
	u.Pending = slices.CompactFunc(u.Pending, func(a, b machine.Pending) bool { return a.Due == b.Due })
	for range rapid.IntRange(0, machine.KeptChanges).Draw(t, "changes") {
		u.Changes = append(u.Changes, machine.Change{
			ID: drawPosition(t), At: rapid.Int64().Draw(t, "at"), ModuleBefore: rapid.Int64Range(0, 2).Draw(t, "before"),
			ModuleAfter: rapid.Int64().Draw(t, "after"), Variables: drawNames(t, 4),
		})
	}
	return u
}

func drawNames(t *rapid.T, most int) []string {
	list := rapid.SliceOfNDistinct(names, 0, most, rapid.ID[string]).Draw(t, "names")
	slices.Sort(list)
	return list
}

func drawPosition(t *rapid.T) record.Position {
	return record.Position{Seq: rapid.Uint64().Draw(t, "seq"), Index: rapid.Uint32().Draw(t, "index")}
}

func drawPending(t *rapid.T) machine.Pending {
	return machine.Pending{
		Due:    machine.Due{At: rapid.Int64().Draw(t, "due"), Position: drawPosition(t)},
		Module: rapid.Int64().Draw(t, "module"), Bot: rapid.String().Draw(t, "bot"),
		AcceptedAt: rapid.Int64().Draw(t, "accepted"), Trace: rapid.String().Draw(t, "trace"),
	}
}

func TestUserRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawUser(t)
		got, err := decodeUser(appendUser(nil, u))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func drawOutcomes(t *rapid.T) []machine.Outcome {
	seq := rapid.Uint64().Draw(t, "seq")
	indexes := rapid.SliceOfNDistinct(rapid.Uint32(), 1, 5, rapid.ID[uint32]).Draw(t, "indexes")
	slices.Sort(indexes)
	outs := make([]machine.Outcome, len(indexes))
	for i, index := range indexes {
		outs[i] = machine.Outcome{
			Position: record.Position{Seq: seq, Index: index},
			Kind:     record.Kind(rapid.Byte().Draw(t, "kind")), Status: machine.Status(rapid.Byte().Draw(t, "status")),
			Account: rapid.SampledFrom([]string{"acme", "zoo", ""}).Draw(t, "account"), User: rapid.StringN(0, 200, 400).Draw(t, "user"),
			Reason:     rapid.SampledFrom([]string{"", machine.ReasonPoison}).Draw(t, "reason"),
			AcceptedAt: rapid.Int64().Draw(t, "accepted"), AppliedAt: rapid.Int64Range(0, 1).Draw(t, "applied"),
			UserVersion: rapid.Uint64Range(0, 3).Draw(t, "version"),
		}
		if rapid.Bool().Draw(t, "duplicate") {
			outs[i].DuplicateOf = drawPosition(t)
		}
	}
	return outs
}

func TestOutcomesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		outs := drawOutcomes(t)
		b := appendPack(nil, outs)
		got, err := decodePack(outs[0].Position.Seq, b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(outs, got); diff != "" {
			t.Fatal(diff)
		}
		for _, o := range outs {
			if one, ok, err := findOutcome(o.Position, b); err != nil || !ok || one != o {
				t.Fatalf("got %+v, %t, %v, want %+v", one, ok, err, o)
			}
			o.Position.Index++
			_, ok, err := findOutcome(o.Position, b)
			if want := slices.ContainsFunc(outs, func(x machine.Outcome) bool { return x.Position == o.Position }); err != nil || ok != want {
				t.Fatalf("found %+v: %t, %v", o.Position, ok, err)
			}
		}
	})
}

func drawCheckpoint(t *rapid.T) Checkpoint {
	c := Checkpoint{
		Identity: Identity{LogID: rapid.String().Draw(t, "log"), Partition: rapid.Int().Draw(t, "partition"),
			Seq: rapid.Uint64().Draw(t, "seq"), Time: rapid.Int64().Draw(t, "time"), Hash: rapid.Uint64().Draw(t, "hash")},
		Head: machine.Head{Applied: rapid.Uint64().Draw(t, "applied"), StreamTime: rapid.Int64().Draw(t, "stream time"),
			Events: rapid.Uint64().Draw(t, "events"), Configured: rapid.Bool().Draw(t, "configured"),
			Limits: record.Limits{Machine: rapid.Int().Draw(t, "machine"), MaxUserBytes: rapid.Int64().Draw(t, "max user bytes"),
				MaxPending: rapid.Int().Draw(t, "max pending"), OutcomesKeep: rapid.Int64().Draw(t, "keep")},
			Users: rapid.Uint64().Draw(t, "users"), Pending: rapid.Uint64().Draw(t, "pending"), Writers: map[string]machine.Writer{}},
		EmittedSeq: rapid.Uint64().Draw(t, "emitted"),
	}
	for _, name := range drawNames(t, 5) {
		c.Head.Writers[name] = machine.Writer{Number: rapid.Uint64().Draw(t, "number"), Seen: rapid.Int64().Draw(t, "seen")}
	}
	return c
}

func TestCheckpointRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawCheckpoint(t)
		got, err := decodeCheckpoint(appendCheckpoint(nil, &want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Keys sort as bytes as their values do: times before 1970 and the last sequences included.
func TestKeysSortAsTheirValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func() machine.Due {
			return machine.Due{At: rapid.Int64().Draw(t, "at"), Position: drawPosition(t)}
		}
		a, b := draw(), draw()
		if got, want := bytes.Compare(appendDue(nil, a), appendDue(nil, b)), a.Compare(b); got != want {
			t.Fatalf("compare %+v with %+v: %d, want %d", a, b, got, want)
		}
		if got, err := decodeDue(appendDue(nil, a)); err != nil || got != a {
			t.Fatalf("got %+v, %v, want %+v", got, err, a)
		}
		ha, hb := hourKey(a.At), hourKey(b.At)
		if got := bytes.Compare(ha[:], hb[:]); got != 0 && (got < 0) != (a.At < b.At) {
			t.Fatalf("compare hour %d with %d: %d", a.At, b.At, got)
		}
	})
}

// refused is what a decoder may say about bytes that it does not accept.
func refused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
		t.Fatalf("refused with %v", err)
	}
}

// same holds for each decoder: what it accepts is what the encoder writes, so that equal states are equal bytes.
func same(t *testing.T, in, out []byte) {
	t.Helper()
	if !bytes.Equal(in, out) {
		t.Fatalf("%x was accepted, %x is written", in, out)
	}
}

func FuzzUser(f *testing.F) {
	f.Add(appendUser(nil, benchUser(1)))
	f.Add(appendUser(nil, &machine.User{Pending: []machine.Pending{{Bot: "b", Trace: "t"}}, Changes: []machine.Change{{Variables: []string{"gone"}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := decodeUser(b)
		if err != nil {
			refused(t, err)
			return
		}
		same(t, b, appendUser(nil, u))
	})
}

func FuzzOutcomes(f *testing.F) {
	f.Add(appendPack(nil, []machine.Outcome{{Kind: record.Trigger, Status: machine.Applied, Account: "a", User: "u"}, {
		Position: record.Position{Index: 9}, Account: "b", User: "v", Reason: "r", AcceptedAt: 1, AppliedAt: 2, UserVersion: 3,
		DuplicateOf: record.Position{Seq: 4, Index: 5}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		outs, err := decodePack(7, b)
		if err != nil {
			refused(t, err)
			return
		}
		same(t, b, appendPack(nil, outs))
		for _, o := range outs {
			if got, ok, err := findOutcome(o.Position, b); err != nil || !ok || got != o {
				t.Fatalf("found %+v, %t, %v, want %+v", got, ok, err, o)
			}
		}
	})
}

// FuzzMeta tries all the smaller decoders.
func FuzzMeta(f *testing.F) {
	c := checkpointAt(machine.Head{Applied: 3, Writers: map[string]machine.Writer{"a": {Number: 1}, "b": {Seen: 2}}})
	f.Add(appendCheckpoint(nil, &c))
	f.Add(appendDeadLetter(nil, &machine.DeadLetter{Whole: true, Account: "a", Reason: "r", At: 3, Data: []byte("d")}))
	f.Add(appendSums(nil, &sums{hours: []hourSum{{outcomes, 3, 4}, {batches, 3, 4}}}))
	f.Add(appendLog(nil, "log", 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		try(t, b, decodeCheckpoint, func(c Checkpoint) []byte { return appendCheckpoint(nil, &c) })
		try(t, b, decodeHead, func(h machine.Head) []byte { return appendHead(nil, &h) })
		try(t, b, decodeSums, func(s sums) []byte { return appendSums(nil, &s) })
		letter := func(b []byte) (machine.DeadLetter, error) { return decodeDeadLetter(record.Position{}, b) }
		try(t, b, letter, func(l machine.DeadLetter) []byte { return appendDeadLetter(nil, &l) })
		try(t, b, decodeDue, func(d machine.Due) []byte { return appendDue(nil, d) })
		if id, p, err := decodeLog(b); err == nil {
			same(t, b, appendLog(nil, id, p))
		}
		if _, err := unseal(users, 0, nil, b); err != nil {
			refused(t, err)
		}
	})
}

func try[T any](t *testing.T, b []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	t.Helper()
	v, err := decode(b)
	if err != nil {
		refused(t, err)
		return
	}
	same(t, b, encode(v))
}
