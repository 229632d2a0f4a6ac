package record_test

import (
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

// typical is about what a checkout sends: 200 bytes, five variables.
const typical = `{"type":"trigger","account":"demo","user":"alice-0000123","module":1068935,"bot":"shop","redirect":true,"wait_ms":3000,` +
	`"vars":{"order_id":"A-10482","amount":129.90,"currency":"EUR","paid":true,"items":[1,2]}}`

func BenchmarkDecode(b *testing.B) {
	line := []byte(typical)
	var r record.Record
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Decode(line, record.Version); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTo(b *testing.B) {
	var r record.Record
	if err := r.Decode([]byte(typical), record.Version); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 1024)
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendTo(buf[:0])
	}
	if string(buf) != typical {
		b.Fatalf("wrote %s", buf)
	}
}
