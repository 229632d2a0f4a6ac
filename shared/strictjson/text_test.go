package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/strictjson"
	"pgregory.net/rapid"
)

func TestString(t *testing.T) {
	for value, want := range map[string]string{
		`""`: "", `"abc"`: "abc", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"a\u00e9\u20AC\ud83d\ude00z"`: "aé€😀z", `"\u0000"`: "\x00",
	} {
		if got, ok := strictjson.String([]byte(value)); !ok || string(got) != want {
			t.Errorf("String(%s) = %q, %v, want %q", value, got, ok, want)
		}
	}
	for _, value := range []string{``, `"`, `1`, `null`, `{"a":"b"}`, `["a"]`, `true`} {
		if got, ok := strictjson.String([]byte(value)); ok {
			t.Errorf("String(%s) = %q, want no string", value, got)
		}
	}
}

// What was not validated must not be able to crash the process.
func TestStringOfInvalidValue(t *testing.T) {
	for _, value := range []string{`"\"`, `"\u"`, `"\u12"`, `"\ud83d"`, `"\ud83d\"`, `"\ud83d\u"`, `"\x"`} {
		if got, ok := strictjson.String([]byte(value)); ok {
			t.Errorf("String(%s) = %q, want no string", value, got)
		}
	}
}

func TestStringAliases(t *testing.T) {
	value := []byte(`"abc"`)
	s, _ := strictjson.String(value)
	value[1] = 'x'
	if string(s) != "xbc" {
		t.Errorf("got %q: a copy", s)
	}
	if longer := append(s, '!'); string(longer) != "xbc!" || string(value) != `"xbc"` {
		t.Errorf("appending to the result wrote into the document: %s", value)
	}
}

func TestAppendCompact(t *testing.T) {
	for value, want := range map[string]string{
		" 1e400 ":      `1e400`,
		`""`:           `""`,
		`"a b\" c\\" `: `"a b\" c\\"`,
		"{ \"a b\" : [ 1 ,\t2\r\n] , \"\\\\\" : { } }": `{"a b":[1,2],"\\":{}}`,
	} {
		if got := strictjson.AppendCompact([]byte("x"), []byte(value)); string(got) != "x"+want {
			t.Errorf("AppendCompact(%s) = %s, want x%s", value, got, want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for s, want := range map[string]string{
		"": `""`, "abc": `"abc"`, "a\"b\\c/": `"a\"b\\c/"`, "\n\r\t\b\x00\x1f\x7f": "\"\\n\\r\\t\\u0008\\u0000\\u001f\x7f\"",
		"é€😀\u2028<&>": "\"é€😀\u2028<&>\"", "a\xffb\xe2\x82": "\"a\ufffdb\ufffd\ufffd\"", "\ufffd": "\"\ufffd\"",
	} {
		if got := strictjson.AppendString([]byte("x"), s); string(got) != "x"+want {
			t.Errorf("AppendString(%q) = %s, want x%s", s, got, want)
		}
		if got := strictjson.AppendString(nil, []byte(s)); string(got) != want {
			t.Errorf("AppendString([]byte(%q)) = %s, want %s", s, got, want)
		}
	}
}

func TestAppendStringProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SliceOf(rapid.Byte()).Draw(t, "s")
		quoted := strictjson.AppendString(nil, s)
		if err := strictjson.Valid(quoted, 0); err != nil {
			t.Fatalf("wrote %s: %v", quoted, err)
		}
		back, ok := strictjson.String(quoted)
		if want := string([]rune(string(s))); !ok || string(back) != want {
			t.Fatalf("%q came back as %q", want, back)
		}
	})
}

// Escapes in every spelling decode as encoding/json decodes them.
func TestStringProperty(t *testing.T) {
	unit := rapid.OneOf(
		rapid.SampledFrom([]string{`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`, `\ud83d\ude00`, `\uDBFF\uDFFF`}),
		rapid.StringMatching(`\\u[0-9a-cA-C][0-9a-fA-F]{3}`),
		rapid.Map(rapid.Rune(), func(r rune) string {
			quoted := strictjson.AppendString(nil, string(r))
			return string(quoted[1 : len(quoted)-1])
		}),
	)
	rapid.Check(t, func(t *rapid.T) {
		value := []byte(`"` + strings.Join(rapid.SliceOf(unit).Draw(t, "units"), "") + `"`)
		if err := strictjson.Valid(value, 0); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		var want string
		if err := json.Unmarshal(value, &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := strictjson.String(value); !ok || string(got) != want {
			t.Fatalf("String(%s) = %q, want %q", value, got, want)
		}
	})
}
