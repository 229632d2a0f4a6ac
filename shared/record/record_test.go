package record_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/triggerd/triggerd/shared/record"
)

// diff compares records by content: an empty slice and none are the same on the wire.
func diff(want, got record.Record) string { return cmp.Diff(want, got, cmpopts.EquateEmpty()) }

func decode(t *testing.T, line string) record.Record {
	t.Helper()
	var r record.Record
	if err := r.Decode([]byte(line), record.Version); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return r
}

func TestDecodeTakesAnyOrderAndSpelling(t *testing.T) {
	got := decode(t, `{"vars":{"b":{"x":[1,"\n"]},"a":1e400},"redirect":false,"wait_ms":0,"\u0074ype":"trigger","user":"\u00e9\"","module":-9223372036854775808,"account":"a"}`)
	want := record.Record{
		Kind: record.Trigger, Account: []byte("a"), User: []byte(`é"`), Module: -1 << 63, HasModule: true,
		Vars: []record.Var{{[]byte("b"), []byte(`{"x":[1,"\n"]}`)}, {[]byte("a"), []byte("1e400")}},
	}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDecodeForgetsTheRecordBefore(t *testing.T) {
	r := decode(t, typical)
	if err := r.Decode([]byte(`{"type":"tick"}`), record.Version); err != nil {
		t.Fatal(err)
	}
	if d := diff(record.Record{Kind: record.Tick}, r); d != "" {
		t.Error(d)
	}
	if cap(r.Vars) < 5 {
		t.Error("the slice of variables was not kept for reuse")
	}
}

func TestDecodeRefuses(t *testing.T) {
	const (
		head   = `{"type":"trigger","account":"a","user":"u"`
		config = `{"type":"config","machine":1,"max_user_bytes":2,"max_pending":3,"outcomes_keep_ms":4`
	)
	for _, c := range []struct{ line, err string }{
		{``, `unexpected end: want an object at byte 0`},
		{`null`, `want an object at byte 0`},
		{`[]`, `want an object at byte 0`},
		{head, `unexpected end: want a comma or a closing bracket at byte 42`},
		{head + `}{}`, `trailing data after the value at byte 43`},
		{head + `,"x":1}`, `unknown member`},
		{head + `,"Module":1}`, `unknown member`},
		{head + `,"user":"v"}`, `member user twice`},
		{head + `,"us\u0065r":"v"}`, `member user twice`},
		{head + `,"vars":{},"vars":{}}`, `member vars twice`},
		{head + `, "module":1}`, `white space between tokens`},
		{head + `,"vars":{"a":[1, 2]}}`, `white space between tokens`},
		{head + "}\n", `white space between tokens`},
		{`{}`, `member type is missing`},
		{`{"account":"a","user":"u"}`, `member type is missing`},
		{`{"type":"trigger"}`, `trigger without account, user`},
		{`{"type":"register","user":"u"}`, `register without account`},
		{`{"type":"delete","account":"a"}`, `delete without user`},
		{`{"type":"delete","account":"a","user":"u","vars":{}}`, `delete with vars`},
		{`{"type":"delete","account":"a","user":"u","module":1,"bot":"b"}`, `delete with module, bot`},
		{`{"type":"register","account":"a","user":"u","redirect":false,"wait_ms":0}`, `register with redirect, wait_ms`},
		{`{"type":"tick","account":"a","user":"u"}`, `tick with account, user`},
		{`{"type":"tick","machine":1}`, `tick with machine`},
		{head + `,"machine":1}`, `trigger with machine`},
		{config + `,"user":"u"}`, `config with user`},
		{`{"type":"config","machine":1,"max_pending":1}`, `config without max_user_bytes, outcomes_keep_ms`},
		{`{"type":"Trigger"}`, `member type has a wrong type or is out of bounds`},
		{`{"type":"unknown"}`, `member type has a wrong type or is out of bounds`},
		{`{"type":1}`, `member type has a wrong type or is out of bounds`},
		{`{"type":"trigger","account":null}`, `member account has a wrong type or is out of bounds`},
		{`{"type":"trigger","account":""}`, `member account has a wrong type or is out of bounds`},
		{`{"type":"trigger","user":["u"]}`, `member user has a wrong type or is out of bounds`},
		{`{"type":"trigger","user":"a\u0000b"}`, `member user has a wrong type or is out of bounds`},
		{`{"type":"trigger","user":"a\nb"}`, `member user has a wrong type or is out of bounds`},
		{`{"type":"trigger","user":"` + strings.Repeat("u", record.MaxTextBytes+1) + `"}`, `member user has a wrong type or is out of bounds`},
		{head + `,"bot":""}`, `member bot has a wrong type or is out of bounds`},
		{head + `,"trace":"\u001f"}`, `member trace has a wrong type or is out of bounds`},
		{head + `,"module":null}`, `member module has a wrong type or is out of bounds`},
		{head + `,"module":"1"}`, `member module has a wrong type or is out of bounds`},
		{head + `,"module":1.0}`, `member module has a wrong type or is out of bounds`},
		{head + `,"module":1e3}`, `member module has a wrong type or is out of bounds`},
		{head + `,"module":9223372036854775808}`, `member module has a wrong type or is out of bounds`},
		{head + `,"redirect":true}`, `redirect without module`},
		{head + `,"redirect":1}`, `member redirect has a wrong type or is out of bounds`},
		{head + `,"redirect":"true"}`, `member redirect has a wrong type or is out of bounds`},
		{head + `,"wait_ms":-1}`, `member wait_ms has a wrong type or is out of bounds`},
		{head + `,"wait_ms":1000000000001}`, `member wait_ms has a wrong type or is out of bounds`},
		{head + `,"vars":null}`, `want an object at byte 50`},
		{head + `,"vars":[]}`, `want an object at byte 50`},
		{head + `,"vars":{"a":1,"b":2,"\u0061":3}}`, `variable "a" twice`},
		{head + `,"vars":{"a":"` + "\xff" + `"}}`, `invalid UTF-8 in a string at byte 56`},
		{head + `,"vars":{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}}`, `nesting over 64 levels at byte 117`},
		{head + `,"key":"k"}`, `key without print or print without key`},
		{head + `,"print":"p"}`, `key without print or print without key`},
		{head + `,"key":"","print":"p"}`, `member key has a wrong type or is out of bounds`},
		{head + `,"key":"a b","print":"p"}`, `member key has a wrong type or is out of bounds`},
		{head + `,"key":"\u007f","print":"p"}`, `member key has a wrong type or is out of bounds`},
		{head + `,"key":"é","print":"p"}`, `member key has a wrong type or is out of bounds`},
		{head + `,"key":1,"print":"p"}`, `member key has a wrong type or is out of bounds`},
		{head + `,"key":"` + strings.Repeat("k", record.MaxKeyBytes+1) + `","print":"p"}`, `member key has a wrong type or is out of bounds`},
		{head + `,"key":"k","print":"` + strings.Repeat("p", record.MaxPrint+1) + `"}`, `member print has a wrong type or is out of bounds`},
		{`{"type":"register","account":"a","user":"u","key":"k","print":"p"}`, `register with key, print`},
		{config + `,"max_keys":1}`, `max_keys without keys_keep_ms or keys_keep_ms without max_keys`},
		{config + `,"keys_keep_ms":1}`, `max_keys without keys_keep_ms or keys_keep_ms without max_keys`},
		{config + `,"max_keys":0}`, `member max_keys has a wrong type or is out of bounds`},
		{config + `,"max_keys":2147483648}`, `member max_keys has a wrong type or is out of bounds`},
		{config + `,"keys_keep_ms":0}`, `member keys_keep_ms has a wrong type or is out of bounds`},
		{`{"type":"config","machine":0}`, `member machine has a wrong type or is out of bounds`},
		{`{"type":"config","machine":2147483648}`, `member machine has a wrong type or is out of bounds`},
		{`{"type":"config","max_user_bytes":-1}`, `member max_user_bytes has a wrong type or is out of bounds`},
		{`{"type":"config","max_pending":-1}`, `member max_pending has a wrong type or is out of bounds`},
		{`{"type":"config","outcomes_keep_ms":1000000000001}`, `member outcomes_keep_ms has a wrong type or is out of bounds`},
	} {
		var r record.Record
		err := r.Decode([]byte(c.line), record.Version)
		if err == nil {
			t.Errorf("%.120s: accepted", c.line)
		} else if got, want := err.Error(), "decode record: "+c.err; got != want {
			t.Errorf("%.120s: %s, want %s", c.line, got, want)
		}
	}
}

func TestDecodeAtItsBounds(t *testing.T) {
	const head = `{"type":"trigger","account":"a","user":"u"`
	for _, line := range []string{
		`{"type":"trigger","account":"a","user":"` + strings.Repeat("u", record.MaxTextBytes) + `"}`,
		head + `,"wait_ms":1000000000000}`,
		head + `,"key":"` + strings.Repeat("!", record.MaxKeyBytes) + `","print":"` + strings.Repeat("~", record.MaxPrint) + `"}`,
		head + `,"module":9223372036854775807,"redirect":true}`,
		head + `,"vars":{"a":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}}`,
		head + `,"vars":{},"bot":"` + "\x7f\u0080" + `"}`,
		`{"type":"config","machine":2147483647,"max_user_bytes":9223372036854775807,"max_pending":2147483647,"outcomes_keep_ms":1000000000000}`,
	} {
		decode(t, line)
	}
}

// Few variables are compared with each other, many are sorted: both must find the one double, wherever it stands.
func TestDoubleVariables(t *testing.T) {
	for _, n := range []int{2, 31, 32, 33, 34, 500} {
		if r := decode(t, withVars(n, 0, 0)); len(r.Vars) != n || string(r.Vars[n-1].Name) != fmt.Sprintf("v%d", n-1) {
			t.Fatalf("%d variables: decoded %d, or out of order", n, len(r.Vars))
		}
		for _, places := range [][2]int{{0, 1}, {0, n - 1}, {n - 2, n - 1}, {n / 3, n / 2}} {
			first, second := places[0], places[1]
			if first == second {
				continue
			}
			var r record.Record
			want := fmt.Sprintf("decode record: variable \"v%d\" twice", first)
			if err := r.Decode([]byte(withVars(n, first, second)), record.Version); err == nil || err.Error() != want {
				t.Errorf("%d variables, double at %d: %v, want %s", n, second, err, want)
			}
		}
	}
}

// withVars has n variables v0, v1 and so on, except that the second place holds the name of the first.
func withVars(n, first, second int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"v%d":%d`, i, i)
	}
	names[second] = fmt.Sprintf(`"v%d":"again"`, first)
	return `{"type":"trigger","account":"a","user":"u","vars":{` + strings.Join(names, ",") + `}}`
}

// Reasons end in logs and in the list of dead letters, where a customer's values have no place.
func TestErrorsDoNotQuoteValues(t *testing.T) {
	for _, line := range []string{
		`{"type":"secret"}`, `{"type":"trigger","user":["secret"]}`, `{"type":"trigger","vars":{"a":secret}}`,
		`{"type":"trigger","vars":{"a":"secret","a":"secret"}}`, `{"secret":1}`, `{"type":"trigger","module":"secret"}`,
	} {
		var r record.Record
		if err := r.Decode([]byte(line), record.Version); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// What a kind does not have is not written, so one meaning has one spelling.
func TestAppendToWritesOnlyWhatTheKindHas(t *testing.T) {
	full := record.Record{
		Account: []byte("a"), User: []byte("u"), Bot: []byte("b"), Module: 1, HasModule: true, Redirect: true, Wait: 2,
		Vars: []record.Var{{[]byte("v"), []byte("1")}}, Trace: []byte("t"), Limits: record.Limits{Machine: 1, MaxUserBytes: 2, MaxPending: 3, OutcomesKeep: 4},
		Key: []byte("k"), Print: []byte("p"),
	}
	for kind, want := range map[record.Kind]string{
		record.Trigger:   `{"type":"trigger","key":"k","print":"p","account":"a","user":"u","module":1,"bot":"b","redirect":true,"wait_ms":2,"vars":{"v":1},"trace":"t"}`,
		record.Register:  `{"type":"register","account":"a","user":"u","module":1,"bot":"b","vars":{"v":1},"trace":"t"}`,
		record.Delete:    `{"type":"delete","account":"a","user":"u","trace":"t"}`,
		record.Tick:      `{"type":"tick"}`,
		record.Configure: `{"type":"config","machine":1,"max_user_bytes":2,"max_pending":3,"outcomes_keep_ms":4}`,
	} {
		full.Kind = kind
		if got := string(full.AppendTo([]byte("x"))); got != "x"+want {
			t.Errorf("%v: %s, want x%s", kind, got, want)
		}
		decode(t, want)
	}
}

// A record that nobody should have built is refused when it is read, not guessed at.
func TestAppendToOfNonsenseIsRefused(t *testing.T) {
	for _, r := range []record.Record{
		{}, {Kind: 6}, {Kind: 255}, {Kind: record.Trigger}, {Kind: record.Trigger, Account: []byte("a"), User: []byte("a\x00b")},
		{Kind: record.Configure}, {Kind: record.Trigger, Account: []byte("a"), User: []byte("u"), Vars: []record.Var{{[]byte("v"), nil}}},
		{Kind: record.Trigger, Account: []byte("a"), User: []byte("u"), Wait: -1},
	} {
		var got record.Record
		if line := r.AppendTo(nil); got.Decode(line, record.Version) == nil {
			t.Errorf("%s: accepted", line)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	line, buf := []byte(typical), make([]byte, 0, 1024)
	r := decode(t, typical)
	if n := testing.AllocsPerRun(100, func() { _ = r.Decode(line, record.Version) }); n != 0 {
		t.Errorf("Decode: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { buf = r.AppendTo(buf[:0]) }); n != 0 {
		t.Errorf("AppendTo: %v allocations", n)
	}
}
