package record_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
	"pgregory.net/rapid"
)

// text is any text that can be an account, a user or a bot.
func text() *rapid.Generator[[]byte] {
	chars := rapid.OneOf(
		rapid.RuneFrom([]rune("abcXYZ019-_.")),
		rapid.RuneFrom([]rune("\"\\/ <&>é€😀\u2028\u0080\x7f\ufffd")),
		rapid.Rune().Filter(func(r rune) bool { return r >= ' ' }),
	)
	return rapid.Map(rapid.StringOfN(chars, 1, 40, -1), func(s string) []byte { return []byte(s) })
}

func maybe[T any](g *rapid.Generator[T]) *rapid.Generator[T] {
	var none T
	return rapid.OneOf(rapid.Just(none), g)
}

// value is any compact JSON value.
func value(depth int) *rapid.Generator[[]byte] {
	quote := func(s string) []byte { return strictjson.AppendString(nil, s) }
	scalars := []*rapid.Generator[[]byte]{
		rapid.Map(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?|true|false|null`), func(s string) []byte { return []byte(s) }),
		rapid.Map(rapid.String(), quote),
		rapid.SampledFrom([][]byte{[]byte(`"\u0000\ud83d\ude00\/"`), []byte(`{}`), []byte(`[]`)}),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	list := rapid.Custom(func(t *rapid.T) []byte {
		out := []byte{'['}
		for i, v := range rapid.SliceOfN(value(depth-1), 0, 4).Draw(t, "elements") {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, v...)
		}
		return append(out, ']')
	})
	object := rapid.Custom(func(t *rapid.T) []byte {
		name := quote(rapid.String().Draw(t, "name"))
		return append(append(append(append([]byte{'{'}, name...), ':'), list.Draw(t, "value")...), '}')
	})
	return rapid.OneOf(append(scalars, list, object)...)
}

func vars() *rapid.Generator[[]record.Var] {
	pair := rapid.Custom(func(t *rapid.T) record.Var {
		return record.Var{Name: []byte(rapid.String().Draw(t, "name")), Value: value(2).Draw(t, "value")}
	})
	return rapid.SliceOfNDistinct(pair, 0, 50, func(v record.Var) string { return string(v.Name) })
}

// anyRecord is any record that a correct writer can build.
func anyRecord() *rapid.Generator[record.Record] {
	return rapid.Custom(func(t *rapid.T) record.Record {
		r := record.Record{Kind: rapid.SampledFrom([]record.Kind{
			record.Trigger, record.Trigger, record.Register, record.Delete, record.Tick, record.Configure,
		}).Draw(t, "kind")}
		switch r.Kind {
		case record.Configure:
			r.Limits = record.Limits{
				Machine:      rapid.IntRange(1, 1<<31-1).Draw(t, "machine"),
				MaxUserBytes: rapid.Int64Min(0).Draw(t, "bytes"),
				MaxPending:   rapid.IntRange(0, 1<<31-1).Draw(t, "pending"),
				OutcomesKeep: rapid.Int64Range(0, record.MaxWait).Draw(t, "keep"),
			}
			if r.Limits.MaxKeys = maybe(rapid.Int64Range(1, 1<<31-1)).Draw(t, "keys"); r.Limits.MaxKeys != 0 {
				r.Limits.KeysKeep = rapid.Int64Range(1, record.MaxWait).Draw(t, "keep keys")
			}
		case record.Trigger, record.Register, record.Delete:
			r.Account, r.User = text().Draw(t, "account"), text().Draw(t, "user")
			r.Trace = maybe(text()).Draw(t, "trace")
			drawTarget(t, &r)
		}
		return r
	})
}

func drawTarget(t *rapid.T, r *record.Record) {
	if r.Kind == record.Delete {
		return
	}
	r.Bot, r.Vars = maybe(text()).Draw(t, "bot"), vars().Draw(t, "vars")
	if r.HasModule = rapid.Bool().Draw(t, "has module"); r.HasModule {
		r.Module = rapid.Int64().Draw(t, "module")
	}
	if r.Kind == record.Trigger {
		r.Redirect = r.HasModule && rapid.Bool().Draw(t, "redirect")
		r.Wait = maybe(rapid.Int64Range(0, record.MaxWait)).Draw(t, "wait")
		if rapid.Bool().Draw(t, "keyed") {
			r.Key = []byte(rapid.StringMatching(`[!-~]{1,255}`).Draw(t, "key"))
			r.Print = []byte(rapid.StringMatching(`[!-~]{1,64}`).Draw(t, "print"))
		}
	}
}

func TestDecodeInvertsEncode(t *testing.T) {
	var got record.Record // one for all: nothing of the record before may shine through
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord().Draw(t, "record")
		line := want.AppendTo(nil)
		if want.Kind != record.Configure && record.TriggerVersion(line) != want.Version() {
			t.Fatalf("%q needs version %d, its first bytes say %d", line, want.Version(), record.TriggerVersion(line))
		}
		if err := got.Decode(line, want.Version()); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if d := diff(want, got); d != "" {
			t.Fatalf("%q: %s", line, d)
		}
		if again := got.AppendTo(nil); string(again) != string(line) {
			t.Fatalf("%q is written again as %q", line, again)
		}
	})
}

// Whatever becomes of a line's bytes, it is refused or it means something that can be written and read again.
func TestMutatedLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord().Draw(t, "record")
		line := r.AppendTo(nil)
		for range rapid.IntRange(1, 4).Draw(t, "mutations") {
			line = mutate(t, line)
		}
		checkCanonical(t, line)
	})
}

func mutate(t *rapid.T, line []byte) []byte {
	at := rapid.IntRange(0, len(line)).Draw(t, "at")
	end := min(len(line), at+rapid.IntRange(0, 8).Draw(t, "cut"))
	insert := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 4),
		rapid.SampledFrom([][]byte{[]byte(`"`), []byte(`,"vars":{}`), []byte("true"), []byte("}"), []byte("{"), []byte(`\u0000`), []byte("0"), nil}),
	).Draw(t, "insert")
	out := append([]byte(nil), line[:at]...)
	return append(append(out, insert...), line[end:]...)
}

// checkCanonical holds for any bytes.
func checkCanonical(t interface{ Fatalf(string, ...any) }, line []byte) {
	var r, again record.Record
	if r.Decode(line, record.Version) != nil {
		return
	}
	canonical := r.AppendTo(nil)
	if err := again.Decode(canonical, record.Version); err != nil {
		t.Fatalf("%q was accepted, but is written as %q: %v", line, canonical, err)
	}
	if d := diff(r, again); d != "" {
		t.Fatalf("%q changes its meaning when written as %q: %s", line, canonical, d)
	}
}

func TestBatchesCarryTheirLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(anyRecord(), 1, 10).Draw(t, "records")
		b := record.Batch{Version: rapid.IntRange(1, record.Version).Draw(t, "version"), Writer: "w", Number: rapid.Uint64().Draw(t, "number"), Count: len(records)}
		for i := range records {
			if i > 0 {
				b.Payload = append(b.Payload, '\n')
			}
			b.Payload = records[i].AppendTo(b.Payload)
		}
		got, err := record.ParseBatch(b.Header(), b.Payload)
		if err != nil || cmp.Diff(b, got) != "" {
			t.Fatalf("%+v came back as %+v, %v", b, got, err)
		}
		_ = got.Lines(func(i int, line []byte) error {
			var r record.Record
			if err := r.Decode(line, record.Version); err != nil || diff(records[i], r) != "" {
				t.Fatalf("record %d: %q: %v", i, line, err)
			}
			return nil
		})
	})
}
