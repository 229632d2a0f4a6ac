package strictjson_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/triggerd/triggerd/shared/strictjson"
)

func TestValidAccepts(t *testing.T) {
	for _, doc := range []string{
		`{}`, `[]`, `""`, `0`, `-0`, `true`, `false`, `null`, " \t\r\n1 \t\r\n",
		`1e400`, `-1.50E+007`, `0.10`, `123456789012345678901234567890`,
		`"\"\\\/\b\f\n\r\t\u00e9"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`, `"\u0000"`, `"\ufffd"`,
		"\"\x7f é € 😀 \u2028 \ufffd\"", `"12345678"`, `"1234567\n"`,
		`{"a":[{"b":null},[]],"a":{}}`, `[[[1]],2,{"":""}]`, `{ "a" : [ 1 , 2 ] , "b" : { } }`,
	} {
		if err := strictjson.Valid([]byte(doc), 4); err != nil {
			t.Errorf("Valid(%q): %v", doc, err)
		}
	}
}

// Reasons are shown to the people who sent the document: each is part of what the error says.
func TestValidRefuses(t *testing.T) {
	for _, c := range []struct{ doc, err string }{
		{``, `unexpected end: want a value at byte 0`},
		{` `, `unexpected end: want a value at byte 1`},
		{`{} {}`, `trailing data after the value at byte 3`},
		{`1,`, `trailing data after the value at byte 1`},
		{"1\x00", `trailing data after the value at byte 1`},
		{"\x00", `want a value at byte 0`},
		{"\xef\xbb\xbf1", `want a value at byte 0`},
		{"\u00a01", `want a value at byte 0`},
		{`'a'`, `want a value at byte 0`},
		{`NaN`, `want a value at byte 0`},
		{`+1`, `want a value at byte 0`},
		{`.5`, `want a value at byte 0`},
		{`nul`, `want true, false or null at byte 0`},
		{`True`, `want a value at byte 0`},
		{`truely`, `trailing data after the value at byte 4`},
		{`01`, `leading zero in a number at byte 1`},
		{`-01`, `leading zero in a number at byte 2`},
		{`-`, `unexpected end: want a digit in a number at byte 1`},
		{`1.`, `unexpected end: want a digit in a number at byte 2`},
		{`1.e1`, `want a digit in a number at byte 2`},
		{`1e`, `unexpected end: want a digit in a number at byte 2`},
		{`1e+`, `unexpected end: want a digit in a number at byte 3`},
		{`[1e+]`, `want a digit in a number at byte 4`},
		{`0x10`, `trailing data after the value at byte 1`},
		{`1_000`, `trailing data after the value at byte 1`},
		{`"`, `unexpected end: want the closing quote of a string at byte 1`},
		{`"12345678`, `unexpected end: want the closing quote of a string at byte 9`},
		{`"\`, `unexpected end: want an escape at byte 2`},
		{`"\"`, `unexpected end: want the closing quote of a string at byte 3`},
		{`"\x41"`, `unknown escape in a string at byte 1`},
		{`"\u12"`, `unknown escape in a string at byte 1`},
		{`"\u12g4"`, `unknown escape in a string at byte 1`},
		{`"\U0041"`, `unknown escape in a string at byte 1`},
		{"\"a\nb\"", `control character in a string at byte 2`},
		{"\"1234567\x1f\"", `control character in a string at byte 8`},
		{"\"\x00\"", `control character in a string at byte 1`},
		{`"\ud83d"`, `lone surrogate in a string at byte 1`},
		{`"\ude00"`, `lone surrogate in a string at byte 1`},
		{`"\ude00\ud83d"`, `lone surrogate in a string at byte 1`},
		{`"\ud83d\ud83d"`, `lone surrogate in a string at byte 1`},
		{`"\ud83d\u0041"`, `lone surrogate in a string at byte 1`},
		{`"\ud83dxude00"`, `lone surrogate in a string at byte 1`},
		{"\"a\xff\"", `invalid UTF-8 in a string at byte 2`},
		{"\"\xc0\xaf\"", `invalid UTF-8 in a string at byte 1`},         // overlong slash
		{"\"\xe0\x80\xaf\"", `invalid UTF-8 in a string at byte 1`},     // the same in three bytes
		{"\"\xf0\x80\x80\xaf\"", `invalid UTF-8 in a string at byte 1`}, // and in four
		{"\"\xed\xa0\xbd\"", `invalid UTF-8 in a string at byte 1`},     // encoded surrogate
		{"\"\xf4\x90\x80\x80\"", `invalid UTF-8 in a string at byte 1`}, // over U+10FFFF
		{"\"\xe2\x82", `invalid UTF-8 in a string at byte 1`},           // cut off
		{`{`, `unexpected end: want a name in quotes at byte 1`},
		{`{a:1}`, `want a name in quotes at byte 1`},
		{`{1:1}`, `want a name in quotes at byte 1`},
		{`{"a"}`, `want a colon after the name at byte 4`},
		{`{"a" 1}`, `want a colon after the name at byte 5`},
		{`{"a":}`, `want a value at byte 5`},
		{`{"a":1,}`, `want a name in quotes at byte 7`},
		{`{,}`, `want a name in quotes at byte 1`},
		{`{"a":1 "b":2}`, `want a comma or a closing bracket at byte 7`},
		{`{"a":1]`, `want a comma or a closing bracket at byte 6`},
		{`[1,]`, `want a value at byte 3`},
		{`[,1]`, `want a value at byte 1`},
		{`[1 2]`, `want a comma or a closing bracket at byte 3`},
		{`[1}`, `want a comma or a closing bracket at byte 2`},
		{`[1`, `unexpected end: want a comma or a closing bracket at byte 2`},
		{`[]]`, `trailing data after the value at byte 2`},
		{`[[[[[]]]]]`, `nesting over 4 levels at byte 4`},
		{`[{"a":[{"b":[]}]}]`, `nesting over 4 levels at byte 12`},
	} {
		err := strictjson.Valid([]byte(c.doc), 4)
		if err == nil {
			t.Errorf("Valid(%q): accepted", c.doc)
		} else if err.Error() != c.err {
			t.Errorf("Valid(%q): %v, want %s", c.doc, err, c.err)
		}
	}
}

func TestDepthIsCounted(t *testing.T) {
	nested := func(levels int) []byte {
		return []byte(strings.Repeat(`{"a":[`, levels/2) + strings.Repeat(`]}`, levels/2))
	}
	if err := strictjson.Valid(nested(32), 32); err != nil {
		t.Errorf("32 levels: %v", err)
	}
	if err := strictjson.Valid(nested(34), 32); err == nil {
		t.Error("34 levels: accepted")
	}
	if err := strictjson.Valid([]byte(`[`+strings.Repeat(`{},[],`, 100)+`1]`), 2); err != nil {
		t.Errorf("siblings counted as levels: %v", err)
	}
	if err := strictjson.Valid([]byte(`1`), 0); err != nil {
		t.Errorf("scalar at depth 0: %v", err)
	}
}

// A bomb must be refused where it exceeds the depth, not where it ends.
func TestDepthStopsTheWalk(t *testing.T) {
	bomb := []byte(strings.Repeat(`[`, 10_000))
	err := strictjson.Valid(bomb, 32)
	var fault *strictjson.Error
	if !errors.As(err, &fault) || fault.Offset != 32 || fault.Reason != "nesting over 32 levels" {
		t.Errorf("got %v", err)
	}
}

type pair struct{ Name, Value string }

func members(doc string, maxDepth int) (got []pair, err error) {
	err = strictjson.Object([]byte(doc), maxDepth, func(name, value []byte) error {
		got = append(got, pair{string(name), string(value)})
		return nil
	})
	return got, err
}

func TestObject(t *testing.T) {
	got, err := members(" {\"user\\u005fid\" : \"a\\nb\" ,\"\\\"\": [ 1 , {} ],\"\":1e400,\"A\":null,\"a\":{\"x\":[]},\"a\":-0} ", 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []pair{{"user_id", `"a\nb"`}, {`"`, `[ 1 , {} ]`}, {"", "1e400"}, {"A", "null"}, {"a", `{"x":[]}`}, {"a", "-0"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestObjectRefuses(t *testing.T) {
	for _, c := range []struct{ doc, err string }{
		{`[]`, `want an object at byte 0`},
		{`"{}"`, `want an object at byte 0`},
		{``, `unexpected end: want an object at byte 0`},
		{`{"a":1}x`, `trailing data after the value at byte 7`},
		{`{"a":1,}`, `want a name in quotes at byte 7`},
		{`{"\ud800":1}`, `lone surrogate in a string at byte 2`},
		{`{"a":{"b":{}}}`, `nesting over 2 levels at byte 10`},
		{`{"a":1`, `unexpected end: want a comma or a closing bracket at byte 6`},
	} {
		if _, err := members(c.doc, 2); err == nil || err.Error() != c.err {
			t.Errorf("Object(%q): %v, want %s", c.doc, err, c.err)
		}
	}
}

func TestArray(t *testing.T) {
	var got []string
	collect := func(value []byte) error { got = append(got, string(value)); return nil }
	if err := strictjson.Array([]byte(` [ "a" , [1, 2],{} ,null] `), 2, collect); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`"a"`, `[1, 2]`, `{}`, `null`}, got); diff != "" {
		t.Error(diff)
	}
	for _, doc := range []string{`{}`, `[1,]`, `[1]]`, `[[[]]]`, `[`} {
		if err := strictjson.Array([]byte(doc), 2, collect); err == nil {
			t.Errorf("Array(%q): accepted", doc)
		}
	}
}

func TestCallbackErrorStopsTheWalk(t *testing.T) {
	stop, calls := errors.New("stop"), 0
	err := strictjson.Object([]byte(`{"a":1,"b":2} rubbish`), 1, func(_, _ []byte) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("Object: %v after %d calls", err, calls)
	}
	err = strictjson.Array([]byte(`[1,2] rubbish`), 1, func([]byte) error { calls++; return stop })
	if err != stop || calls != 2 {
		t.Errorf("Array: %v after %d calls", err, calls-1)
	}
}

func TestReaderWalksIntoValues(t *testing.T) {
	r := strictjson.NewReader([]byte(`{"a":{"b":[7,8]},"c":9}`), 3)
	var got []string
	name := func() {
		n, ok, err := r.Member()
		got = append(got, string(n))
		if !ok || err != nil {
			t.Fatalf("Member: %v %v", ok, err)
		}
	}
	value := func() {
		v, err := r.Value()
		got = append(got, string(v))
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(kind byte) {
		if err := r.Open(kind); err != nil {
			t.Fatal(err)
		}
	}
	closed := func(ok bool, err error) {
		if ok || err != nil {
			t.Fatalf("not closed: %v %v", ok, err)
		}
	}
	member := func() (bool, error) { _, ok, err := r.Member(); return ok, err }

	open('{')
	name()
	open('{')
	name()
	open('[')
	for range 2 {
		if ok, err := r.Element(); !ok || err != nil {
			t.Fatalf("Element: %v %v", ok, err)
		}
		value()
	}
	closed(r.Element())
	closed(member())
	name()
	value()
	closed(member())
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "7", "8", "c", "9"}, got); diff != "" {
		t.Error(diff)
	}
	if !r.Compact() {
		t.Error("Compact: false without white space")
	}
}

// Callers append to what they were handed; that must not run over the rest of the document.
func TestValuesCannotGrowIntoTheDocument(t *testing.T) {
	doc := []byte(`{"a":[1],"b":2}`)
	err := strictjson.Object(doc, 2, func(name, value []byte) error {
		_, _ = append(name, "xx"...), append(value, "xx"...)
		return nil
	})
	if err != nil || string(doc) != `{"a":[1],"b":2}` {
		t.Errorf("document is %s: %v", doc, err)
	}
}

func TestReaderSeesWhiteSpace(t *testing.T) {
	for _, doc := range []string{` 1`, `1 `, `[ 1]`, `[1 ]`, `[1 ,2]`, `[1, 2]`, `{ "a":1}`, `{"a" :1}`, `{"a": 1}`, "{\"a\":1\n}", `[{}, {}]`} {
		r := strictjson.NewReader([]byte(doc), 2)
		if _, err := r.Value(); err != nil || r.End() != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		if r.Compact() {
			t.Errorf("%q: called compact", doc)
		}
	}
}
