package machine_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
	"github.com/triggerd/triggerd/worker/internal/machine/machinetest"
)

// noon is 2026-05-04T12:00:00.007Z.
const noon machine.Millis = 1_777_896_000_007

func sampleEvents() []machine.Event {
	vars := []record.Var{{Name: []byte("paid"), Value: []byte("true")}, {Name: []byte("big"), Value: []byte("1e400")}}
	return []machine.Event{
		{Number: 1, Kind: machine.EventRedirected, Partition: 7, Position: record.Position{Seq: 10482, Index: 3}, Time: noon,
			Account: []byte("demo"), User: []byte("alice"), Bot: "shop", ModuleBefore: 21890, ModuleAfter: 1068935, Vars: vars,
			Version: 12, Trace: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		{Number: 2, Kind: machine.EventUpdated, Partition: 7, Position: record.Position{Seq: 10483}, Time: noon - 7,
			Account: []byte("demo"), User: []byte("alice"), Bot: "shop", ModuleBefore: 1068935, ModuleAfter: 1068935, Vars: vars[:1], Version: 13},
		{Number: 3, Kind: machine.EventRedirected, Partition: 7, Position: record.Position{Seq: 10483}, Second: true, Time: noon + 1000,
			Account: []byte("demo"), User: []byte("alice"), Bot: "help", ModuleAfter: 7, Version: 14},
		{Number: 4, Kind: machine.EventRejected, Partition: 0, Position: record.Position{Seq: 1}, Time: 0,
			Account: []byte(`a"b\c`), User: []byte("zoë </b>\u2028\x7f\U0001f600"), Reason: machine.ReasonUnknownUser},
		{Number: 5, Kind: machine.EventRejected, Partition: 7, Position: record.Position{Seq: 10483}, Second: true, Time: noon,
			Account: []byte("demo"), User: []byte("alice"), Bot: "shop", ModuleBefore: 5, ModuleAfter: 5, Version: 3, Reason: machine.ReasonUserDeleted},
	}
}

// The bytes must not change: after a crash a partition derives its events again and goes on behind those that are
// in EVENTS-p already, and consumers read them.
func TestEventGolden(t *testing.T) {
	var got []byte
	for _, e := range sampleEvents() {
		got = append(e.AppendJSON(got), '\n')
	}
	const golden = "testdata/events.golden"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("events are written differently:\n%s", diffLines(string(want), string(got)))
	}
}

// Every event that can be derived is one line of JSON with the mandatory attributes of CloudEvents 1.0.
func TestEventsAreCloudEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun()
		r.applyAll(t, machinetest.Log(t))
		for _, text := range r.events {
			_, text, _ = strings.Cut(text, " ")
			var e struct {
				SpecVersion, ID, Source, Type, Subject string
				Data                                   struct{ Variables map[string]json.RawMessage }
			}
			if err := json.Unmarshal([]byte(text), &e); err != nil || strings.Contains(text, "\n") {
				t.Fatalf("%v: %s", err, text)
			}
			if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Type == "" || e.Subject == "" || e.Data.Variables == nil {
				t.Fatalf("incomplete: %s", text)
			}
		}
	})
}
