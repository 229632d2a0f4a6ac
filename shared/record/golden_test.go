package record_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/triggerd/triggerd/shared/record"
)

// golden are records of version 1 and the files under testdata/v1 that hold their bytes.
//
// These files must never change, nor may any be removed while logs written as version 1 exist: a
// worker replays what earlier programs wrote, and appenders of an earlier program go on
// writing during an upgrade. Encoding that differs by a byte is a new version, with its own
// directory beside this one; the files here are then still decoded. There is no flag that rewrites them.
var golden = map[string]record.Record{
	"trigger": {
		Kind: record.Trigger, Account: []byte("demo"), User: []byte("alice"), Bot: []byte("shop"), Module: 1068935, HasModule: true,
		Redirect: true, Wait: 3000, Trace: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		Vars: []record.Var{
			{[]byte("order_id"), []byte(`"A-10482"`)}, {[]byte("amount"), []byte("129.90")}, {[]byte("huge"), []byte("1e400")},
			{[]byte("none"), []byte("null")}, {[]byte("a"), []byte(`{"z":[true,{}],"a":"\u00e9\/\n"}`)},
		},
	},
	"trigger-least": {Kind: record.Trigger, Account: []byte("demo"), User: []byte("alice")},
	"trigger-odd": {
		Kind: record.Trigger, Account: []byte(`a"b\c`), User: []byte("Zoë 😀 <&>\u2028\x7f/"), Module: -1, HasModule: true,
		Vars: []record.Var{{[]byte("Z"), []byte("-0")}, {[]byte("A"), []byte(`""`)}},
	},
	"register": {
		Kind: record.Register, Account: []byte("demo"), User: []byte("bob"), Bot: []byte("shop"), Module: 21890, HasModule: true,
		Vars: []record.Var{{[]byte("name"), []byte(`"Bob"`)}}, Trace: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
	},
	"register-least": {Kind: record.Register, Account: []byte("demo"), User: []byte("bob")},
	"delete":         {Kind: record.Delete, Account: []byte("demo"), User: []byte("bob")},
	"tick":           {Kind: record.Tick},
	"config": {
		Kind:   record.Configure,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 524288, MaxPending: 1000, OutcomesKeep: 3600000},
	},
}

func goldenFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "v1", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGoldenLines(t *testing.T) {
	for name, want := range golden {
		line := goldenFile(t, name+".json")
		if got := want.AppendTo(nil); string(got) != string(line) {
			t.Errorf("%s is written as\n%s, the promise is\n%s", name, got, line)
		}
		var got record.Record
		if err := got.Decode(line); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d := diff(want, got); d != "" {
			t.Errorf("%s is read differently: %s", name, d)
		}
	}
}

// A whole message, as `nats stream get` shows it: headers, an empty line, the payload. It must
// never change either, for the reason given at golden.
func TestGoldenMessage(t *testing.T) {
	batch := record.Batch{Writer: "w0K3fQ9aZx7L", Number: 42, Time: 1767225600123}
	for _, name := range []string{"register", "trigger", "tick"} {
		if batch.Count++; batch.Count > 1 {
			batch.Payload = append(batch.Payload, '\n')
		}
		r := golden[name]
		batch.Payload = r.AppendTo(batch.Payload)
	}
	want := string(goldenFile(t, "message.txt"))
	if got := message(batch.Header(), batch.Payload); got != want {
		t.Errorf("the message is written as\n%s\nthe promise is\n%s", got, want)
	}
	header, payload := parseMessage(want)
	got, err := record.ParseBatch(header, payload)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(batch, got); d != "" {
		t.Error(d)
	}
}

func message(header map[string][]string, payload []byte) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(header)) {
		text += name + ": " + strings.Join(header[name], ", ") + "\n"
	}
	return text + "\n" + string(payload)
}

func parseMessage(text string) (header map[string][]string, payload []byte) {
	head, body, _ := strings.Cut(text, "\n\n")
	header = map[string][]string{}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		header[name] = []string{value}
	}
	return header, []byte(body)
}
