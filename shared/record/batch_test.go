package record_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/triggerd/triggerd/shared/record"
)

func sample() record.Batch {
	return record.Batch{Version: 1, Writer: "w0K3fQ9aZx7L", Number: 42, Time: 1767225600123, Count: 2, Payload: []byte("{\"type\":\"tick\"}\n{}")}
}

func TestBatchRoundTrip(t *testing.T) {
	for _, want := range []record.Batch{
		sample(),
		{Version: 1, Writer: "worker-1.local", Count: 1, Payload: []byte("x")},
		{Version: 1, Writer: strings.Repeat("w", 64), Number: 1<<64 - 1, Time: 1<<63 - 1, Count: 3, Payload: []byte("\n\n")},
	} {
		got, err := record.ParseBatch(want.Header(), want.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

// The server would take an unnumbered batch for a copy of another one if it had a message id.
func TestOnlyNumberedBatchesHaveAMessageID(t *testing.T) {
	b := sample()
	if got := b.Header()["Nats-Msg-Id"]; len(got) != 1 || got[0] != "w0K3fQ9aZx7L-42" {
		t.Errorf("Nats-Msg-Id of a numbered batch: %q", got)
	}
	b.Number = 0
	if got, ok := b.Header()["Nats-Msg-Id"]; ok {
		t.Errorf("Nats-Msg-Id of an unnumbered batch: %q", got)
	}
}

func TestParseBatchRefuses(t *testing.T) {
	set := func(values ...string) []string { return values }
	for _, c := range []struct {
		name  string
		value []string
		err   string
	}{
		{"Triggerd-Version", nil, "header Triggerd-Version stands 0 times, want once"},
		{"Triggerd-Version", set("1", "1"), "header Triggerd-Version stands 2 times, want once"},
		{"Triggerd-Version", set("01"), "header Triggerd-Version is no decimal number in bounds"},
		{"Triggerd-Version", set("0"), "version 0 was never written"},
		{"Triggerd-Version", set("v2"), "header Triggerd-Version is no decimal number in bounds"},
		{"Triggerd-Version", set("-1"), "header Triggerd-Version is no decimal number in bounds"},
		{"Triggerd-Count", nil, "header Triggerd-Count stands 0 times, want once"},
		{"Triggerd-Count", set("+2"), "header Triggerd-Count is no decimal number in bounds"},
		{"Triggerd-Count", set("2147483648"), "header Triggerd-Count is no decimal number in bounds"},
		{"Triggerd-Count", set("1"), "2 lines, header says 1"},
		{"Triggerd-Count", set("3"), "2 lines, header says 3"},
		{"Triggerd-Writer", nil, "header Triggerd-Writer stands 0 times, want once"},
		{"Triggerd-Writer", set(""), "header Triggerd-Writer is no writer's name"},
		{"Triggerd-Writer", set("a-b"), "header Triggerd-Writer is no writer's name"},
		{"Triggerd-Writer", set("wé"), "header Triggerd-Writer is no writer's name"},
		{"Triggerd-Writer", set(strings.Repeat("w", 65)), "header Triggerd-Writer is no writer's name"},
		{"Triggerd-Batch", set("042"), "header Triggerd-Batch is no decimal number in bounds"},
		{"Triggerd-Batch", set("18446744073709551616"), "header Triggerd-Batch is no decimal number in bounds"},
		{"Triggerd-Batch", set(""), "header Triggerd-Batch is no decimal number in bounds"},
		{"Triggerd-Time", set("-1"), "header Triggerd-Time is no decimal number in bounds"},
		{"Triggerd-Time", set("9223372036854775808"), "header Triggerd-Time is no decimal number in bounds"},
		{"Triggerd-Time", set("1e3"), "header Triggerd-Time is no decimal number in bounds"},
	} {
		b := sample()
		header := b.Header()
		header[c.name] = c.value
		_, err := record.ParseBatch(header, b.Payload)
		if !errors.Is(err, record.ErrMalformed) || errors.Is(err, record.ErrVersion) || err.Error() != "malformed batch: "+c.err {
			t.Errorf("%s %q: %v, want %s", c.name, c.value, err, c.err)
		}
	}
}

func TestParseBatchRefusesNames(t *testing.T) {
	b := sample()
	header := b.Header()
	header["triggerd-count"] = header["Triggerd-Count"]
	delete(header, "Triggerd-Count")
	if _, err := record.ParseBatch(header, b.Payload); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("header name in another case: %v", err)
	}
	for _, writer := range []string{"a b", "a\n", "wé", "\x7f"} {
		b := record.Batch{Version: 1, Writer: writer, Count: 1, Payload: []byte("x")}
		if _, err := record.ParseBatch(b.Header(), b.Payload); !errors.Is(err, record.ErrMalformed) {
			t.Errorf("unnumbered batch of %q: %v", writer, err)
		}
	}
}

func TestParseBatchRefusesAnEmptyPayload(t *testing.T) {
	b := sample()
	b.Count, b.Payload = 0, nil
	if _, err := record.ParseBatch(b.Header(), nil); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("count 0: %v", err)
	}
	b.Count = 1
	if _, err := record.ParseBatch(b.Header(), nil); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("count 1: %v", err)
	}
}

// A newer format halts the reader even where the rest of the message makes no sense to it, and the
// message tells an operator what to do.
func TestNewerVersion(t *testing.T) {
	for _, header := range []map[string][]string{
		{"Triggerd-Version": {"3"}},
		func() map[string][]string {
			b := sample()
			h := maps.Clone(b.Header())
			h["Triggerd-Version"] = []string{"3"}
			return h
		}(),
	} {
		_, err := record.ParseBatch(header, []byte{0xff})
		const want = "unknown record format version 3: this triggerd reads versions up to 2: run a newer triggerd"
		if !errors.Is(err, record.ErrVersion) || errors.Is(err, record.ErrMalformed) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestLines(t *testing.T) {
	for payload, want := range map[string][]string{
		"a": {"a"}, "a\nb": {"a", "b"}, "a\n": {"a", ""}, "\n": {"", ""}, "a\r\nb": {"a\r", "b"},
	} {
		var got []string
		b := record.Batch{Payload: []byte(payload)}
		err := b.Lines(func(index int, rec []byte) error {
			if index != len(got) {
				t.Errorf("%q: index %d for line %d", payload, index, len(got))
			}
			got = append(got, string(rec))
			return nil
		})
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", payload, err, d)
		}
	}
}

func TestLinesStopsAtAnError(t *testing.T) {
	b, stop, calls := sample(), errors.New("stop"), 0
	if err := b.Lines(func(int, []byte) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
