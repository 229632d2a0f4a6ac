package record_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/triggerd/triggerd/shared/record"
)

// golden are records of each version and the files under testdata that hold their bytes.
//
// These files must never change, nor may any be removed while logs written in that version exist: a
// worker replays what earlier programs wrote, and appenders of an earlier program go on
// writing during an upgrade. Encoding that differs by a byte is a new version, with its own
// directory beside this one; the files here are then still decoded. There is no flag that rewrites them.
var golden = map[int]map[string]record.Record{1: golden1, 2: golden2}

var golden1 = map[string]record.Record{
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

var golden2 = map[string]record.Record{
	"trigger": {
		Kind: record.Trigger, Account: []byte("demo"), User: []byte("alice"), Bot: []byte("shop"), Module: 1068935, HasModule: true,
		Redirect: true, Wait: 3000, Trace: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		Vars: []record.Var{{[]byte("order_id"), []byte(`"A-10482"`)}},
		Key:  []byte(`8e03978e-40d5-43e8-bc93-6894a57f9324`), Print: []byte("1nQ0kmz7XJqk4e2fZ"),
	},
	"trigger-least": {Kind: record.Trigger, Account: []byte("demo"), User: []byte("alice"), Key: []byte(`"\~`), Print: []byte("1")},
	"config": {
		Kind:   record.Configure,
		Limits: record.Limits{Machine: 1, MaxUserBytes: 524288, MaxPending: 1000, OutcomesKeep: 3600000, MaxKeys: 1000000, KeysKeep: 86400000},
	},
}

func goldenFile(t *testing.T, version int, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("v%d", version), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGoldenLines(t *testing.T) {
	for version, records := range golden {
		for name, want := range records {
			checkLine(t, version, name, want)
		}
	}
}

// checkLine sees to it that a record is written and read as its file says, in its version and in newer ones, and is not read in older ones.
func checkLine(t *testing.T, version int, name string, want record.Record) {
	t.Helper()
	line := goldenFile(t, version, name+".json")
	if got := want.AppendTo(nil); string(got) != string(line) {
		t.Errorf("%s is written as\n%s, the promise is\n%s", name, got, line)
	}
	if got := want.Version(); got != version {
		t.Errorf("%s is said to need version %d, not %d", name, got, version)
	}
	for v := 1; v <= record.Version; v++ {
		var got record.Record
		err := got.Decode(line, v)
		switch {
		case v < version && err == nil:
			t.Errorf("%s is read in version %d, which does not know it", name, v)
		case v >= version && err != nil:
			t.Errorf("%s in version %d: %v", name, v, err)
		case v >= version && diff(want, got) != "":
			t.Errorf("%s is read differently in version %d: %s", name, v, diff(want, got))
		}
	}
}

// A whole message, as `nats stream get` shows it: headers, an empty line, the payload. It must
// never change either, for the reason given at golden.
func TestGoldenMessage(t *testing.T) {
	for version := range golden {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) { checkMessage(t, version) })
	}
}

func checkMessage(t *testing.T, version int) {
	batch := record.Batch{Version: version, Writer: "w0K3fQ9aZx7L", Number: 42, Time: 1767225600123}
	records := []record.Record{golden1["register"], golden[version]["trigger"], golden1["tick"]}
	for i := range records {
		if batch.Count++; batch.Count > 1 {
			batch.Payload = append(batch.Payload, '\n')
		}
		batch.Payload = records[i].AppendTo(batch.Payload)
	}
	want := string(goldenFile(t, version, "message.txt"))
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
