package record_test

import (
	"errors"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

// FuzzBatch throws whole messages at the reader: five headers and a payload.
func FuzzBatch(f *testing.F) {
	f.Add("1", "1", "w0K3fQ9aZx7L", "42", "1767225600123", []byte(typical))
	f.Add("1", "2", "worker-1", "0", "0", []byte("{\"type\":\"tick\"}\n{}"))
	f.Add("2", "1", "", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, version, count, writer, number, clock string, payload []byte) {
		header := map[string][]string{
			record.HeaderVersion: {version}, record.HeaderCount: {count}, record.HeaderWriter: {writer},
			record.HeaderBatch: {number}, record.HeaderTime: {clock},
		}
		b, err := record.ParseBatch(header, payload)
		if err != nil {
			if errors.Is(err, record.ErrVersion) == errors.Is(err, record.ErrMalformed) {
				t.Fatalf("%v is not exactly one of the two", err)
			}
			return
		}
		for name, values := range b.Header() {
			if name != record.HeaderMsgID && (len(values) != 1 || values[0] != header[name][0]) {
				t.Fatalf("header %s was %q and is %q", name, header[name], values)
			}
		}
		lines := 0
		_ = b.Lines(func(index int, line []byte) error {
			lines++
			checkCanonical(t, line)
			return nil
		})
		if lines != b.Count {
			t.Fatalf("%d lines, count %d", lines, b.Count)
		}
	})
}

// FuzzDecode goes for single lines.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(typical))
	for _, records := range golden {
		for _, r := range records {
			f.Add(r.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) { checkCanonical(t, line) })
}
