package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"testing"
	"unicode/utf8"

	"github.com/triggerd/triggerd/shared/strictjson"
)

// The standard library refuses documents nested deeper than this.
const jsonMaxDepth = 10_000

var seeds = []string{
	`{"user_id":"alice","module_id":1068935,"custom_vars":{"a":1e400,"b":[null,true]},"is_async":true}`,
	`{"user\u005fid":"\ud83d\ude00","x":"\ud83d"}`, " [ 1 , -0.5e+7 , \"\\\"\" , { } ] ", `"é€😀"`, `[1,]`, `{"a":01}`, "\"\xc0\xaf\"", `[[[[[[[[]]]]]]]]`, ``, `tru`,
}

// lone finds a surrogate escape that is not half of a pair, in a document without
// escaped backslashes and pairs (they are blanked first).
var (
	harmless = regexp.MustCompile(`(?i)\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
	lone     = regexp.MustCompile(`(?i)\\ud[89a-f][0-9a-f]{2}`)
)

// accepted is what the standard library makes of a document, less the one thing
// that it forgives and this package does not: lone surrogates, which it replaces.
// (It also takes any bytes for UTF-8, hence the first condition.)
func accepted(doc []byte) bool {
	return utf8.Valid(doc) && json.Valid(doc) && !lone.Match(harmless.ReplaceAll(doc, nil))
}

func FuzzValid(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		before := bytes.Clone(doc)
		err := strictjson.Valid(doc, jsonMaxDepth)
		if want := accepted(doc); (err == nil) != want {
			t.Fatalf("%q: %v, the standard library accepts: %v", doc, err, want)
		}
		var fault *strictjson.Error
		if err != nil && (!errors.As(err, &fault) || fault.Offset < 0 || fault.Offset > len(doc) || fault.Reason == "") {
			t.Fatalf("%q: bad error %#v", doc, err)
		}
		if shallow := strictjson.Valid(doc, 3); err != nil && shallow == nil {
			t.Fatalf("%q: accepted with a smaller depth only", doc)
		}
		if !bytes.Equal(doc, before) {
			t.Fatalf("%q was changed to %q", before, doc)
		}
	})
}

func FuzzCompact(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if strictjson.Valid(doc, jsonMaxDepth) != nil {
			strictjson.AppendCompact(nil, doc) // must not panic, that is all
			strictjson.String(doc)
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, doc); err != nil {
			t.Fatal(err)
		}
		got := strictjson.AppendCompact(nil, doc)
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%q: %q, want %q", doc, got, want.Bytes())
		}
		r := strictjson.NewReader(doc, jsonMaxDepth)
		if _, err := r.Value(); err != nil || r.End() != nil || r.Compact() != bytes.Equal(got, doc) {
			t.Fatalf("%q: Compact() = %v", doc, r.Compact())
		}
		var text *string
		err := json.Unmarshal(doc, &text)
		s, ok := strictjson.String(got)
		if wantText := err == nil && text != nil; ok != wantText || ok && string(s) != *text {
			t.Fatalf("%q: String = %q, %v", doc, s, ok)
		}
	})
}

func FuzzObject(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var got []pair
		err := strictjson.Object(doc, jsonMaxDepth, func(name, value []byte) error {
			got = append(got, pair{string(name), string(value)})
			return nil
		})
		if valid := strictjson.Valid(doc, jsonMaxDepth) == nil; (err == nil) != (valid && isObject(doc)) {
			t.Fatalf("%q: %v, but valid = %v", doc, err, valid)
		}
		if err != nil {
			return
		}
		want := stdMembers(t, doc)
		if len(got) != len(want) {
			t.Fatalf("%q: %q, want %q", doc, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q: member %d is %q, want %q", doc, i, got[i], want[i])
			}
		}
	})
}

func isObject(doc []byte) bool {
	doc = bytes.TrimLeft(doc, " \t\r\n")
	return len(doc) > 0 && doc[0] == '{'
}

// stdMembers walks a valid object with the standard library.
func stdMembers(t *testing.T, doc []byte) (all []pair) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		all = append(all, pair{name.(string), string(value)})
	}
	return all
}
