package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/strictjson"
)

// callback is about what a checkout sends.
const callback = `{"user_id":"alice-0000123","module_id":1068935,"is_async":true,"wait_time":3,` +
	`"custom_vars":{"order_id":"A-10482","amount":129.90,"currency":"EUR","paid":true,"note":"Grüße aus Köln"}}`

var documents = map[string]string{
	"callback": callback,
	"text":     `{"a":"` + strings.Repeat("all work and no play ", 200) + `"}`,
	"numbers":  `[` + strings.Repeat("1234.5678,", 400) + `0]`,
}

func BenchmarkValid(b *testing.B) {
	for name, doc := range documents {
		b.Run(name, func(b *testing.B) {
			bench(b, doc, func(data []byte) bool { return strictjson.Valid(data, 32) == nil })
		})
	}
}

// BenchmarkStandardLibrary is the yardstick for BenchmarkValid.
func BenchmarkStandardLibrary(b *testing.B) {
	for name, doc := range documents {
		b.Run(name, func(b *testing.B) { bench(b, doc, json.Valid) })
	}
}

func BenchmarkObject(b *testing.B) {
	members := 0
	bench(b, callback, func(data []byte) bool {
		return strictjson.Object(data, 32, func(_, _ []byte) error { members++; return nil }) == nil
	})
}

// BenchmarkRefuseDepth shows that a bomb costs what the levels allowed cost.
func BenchmarkRefuseDepth(b *testing.B) {
	bench(b, strings.Repeat("[", 10_000), func(data []byte) bool { return strictjson.Valid(data, 32) != nil })
}

func BenchmarkAppendCompact(b *testing.B) {
	var buf []byte
	bench(b, callback, func(data []byte) bool { buf = strictjson.AppendCompact(buf[:0], data); return true })
}

func BenchmarkAppendString(b *testing.B) {
	var buf []byte
	bench(b, "alice-0000123", func(data []byte) bool { buf = strictjson.AppendString(buf[:0], data); return true })
}

func bench(b *testing.B, doc string, f func([]byte) bool) {
	data := []byte(doc)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if !f(data) {
			b.Fatal("unexpected answer")
		}
	}
}

// The usual path allocates nothing: no tree, no copies, no closures on the heap.
func TestNoAllocations(t *testing.T) {
	data := []byte(callback)
	buf := make([]byte, 0, 1024)
	for name, f := range map[string]func(){
		"Valid": func() { _ = strictjson.Valid(data, 32) },
		"Object": func() {
			members := 0
			_ = strictjson.Object(data, 32, func(_, _ []byte) error { members++; return nil })
		},
		"String":        func() { _, _ = strictjson.String(data[11:26]) },
		"AppendCompact": func() { buf = strictjson.AppendCompact(buf[:0], data) },
		"AppendString":  func() { buf = strictjson.AppendString(buf[:0], "Grüße \"aus\" Köln") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
