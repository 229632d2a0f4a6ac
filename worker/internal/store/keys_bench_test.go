package store

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

var manyKeys = flag.Int("keys", 200_000, "idempotency keys in the file of BenchmarkKeys")

// BenchmarkKeys shows what a file full of idempotency keys costs, spread over a day as keys are: the disk, the memory of the filters, a checkpoint of
// 10 000 more, opening the file, and looking for keys that are new and that are known. `-keys 10000000` is a large partition, and takes minutes.
func BenchmarkKeys(b *testing.B) {
	path := filepath.Join(b.TempDir(), "p.db")
	s := mustOpen(b, path, testOptions())
	s.file.db.NoSync = false
	const hours, step = 24, 10_000
	var last time.Duration // of a whole step
	seq := uint64(0)
	put := func(hour int64, n int) {
		seq++
		s.PutKey(hour, benchAccount, benchKey(n), fmt.Appendf(nil, "order-%d", n), machine.Key{Position: record.Position{Seq: seq, Index: uint32(n % 100)},
			Print: "1nQ0kmz7XJqk4e2fZ", At: machine.HourStart(hour) + int64(n%3_600_000)})
	}
	for n := range *manyKeys {
		put(int64(n*hours / *manyKeys), n)
		if n%step == step-1 || n == *manyKeys-1 {
			began := time.Now()
			mustCommit(b, s, headWithKeys(seq))
			if n%step == step-1 {
				last = time.Since(began)
			}
		}
	}
	mustClose(b, s)
	s = nil
	began := time.Now()
	s = mustOpen(b, path, testOptions())
	opened := time.Since(began)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	perKey := func(total float64) float64 { return total / float64(*manyKeys) }
	costs := map[string]float64{"open-ns/key": perKey(float64(opened)), "filter-B/key": perKey(float64(s.filters.bytes())),
		"disk-B/key": perKey(float64(info.Size())), "commit-ns/key": float64(last) / step}
	b.Cleanup(func() { mustClose(b, s) })
	look := func(name string, known bool) {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = (n + 7919) % *manyKeys
				user := benchKey(n)
				key := fmt.Appendf(nil, "order-%d", n)
				if !known {
					key = append(key, '!')
				}
				if _, ok, err := s.Key(benchAccount, user, key); ok != known || err != nil {
					b.Fatal(n, ok, err)
				}
			}
			for unit, cost := range costs {
				b.ReportMetric(cost, unit)
			}
			clear(costs) // once is enough
		})
	}
	look("known", true)
	look("new", false)
	b.Run("without-filters", func(b *testing.B) { // each hour is looked into
		n := 0
		for b.Loop() {
			n++
			id := s.keyID(benchAccount, benchKey(n), []byte("new"))
			for hour := range int64(hours) {
				if _, ok, err := s.readKey(hour, id); ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		}
	})
}

// bytes is what the filters take in memory.
func (f *filters) bytes() (n int) {
	for _, s := range f.list {
		for _, p := range s.parts {
			n += 64 * len(p.blocks)
		}
	}
	return n
}
