package worker

import (
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
)

// An operator sees the limits that the logs say, and changes some of them in all logs; the others stay. Owners and standbys go by the new ones from the
// same place of the log on.
func TestConfigure(t *testing.T) {
	f := newFleet(t)
	a, b := f.start("a"), f.start("b")
	f.settled(a, b)
	f.sendAll(1, 20)
	before, _ := f.typed(0, "configure")
	if !strings.Contains(before, "partition  max-user-bytes") || strings.Contains(before, "12345") {
		t.Fatalf("configure says\n%s", before)
	}
	after, _ := f.typed(0, "configure", "-set", "max-keys=12345", "-set", "outcomes-keep=2h")
	lines := strings.Split(strings.TrimSpace(after), "\n")
	if len(lines) != 1+shares {
		t.Fatalf("configure says\n%s", after)
	}
	for _, line := range lines[1:] {
		if !strings.Contains(line, "2h0m0s") || !strings.Contains(line, "12345") || !strings.Contains(line, "24h0m0s") {
			t.Errorf("a partition goes by %q", line)
		}
	}
	if again, _ := f.typed(0, "configure", "-set", "max-keys=12345"); again != after {
		t.Errorf("said again it shows\n%s\nbefore\n%s", again, after)
	}
	for p := range shares {
		if n := f.configured(p); n != 2 {
			t.Errorf("partition %d has %d records with limits, want the first one and the one that changed something", p, n)
		}
	}
	for _, wrong := range []string{"keys=1", "max-keys=-1", "max-keys", "outcomes-keep=0s", "partitions=7", "machine=2"} {
		if _, errs := f.typed(2, "configure", "-set", wrong); !strings.Contains(errs, strings.Split(wrong, "=")[0]) {
			t.Errorf("%s is refused with %q", wrong, errs)
		}
	}
	f.sendAll(21, 40)
	f.stop = func() {}
	f.audit(a, b)
}

// sendAll appends batches to every partition.
func (f *fleet) sendAll(from, to uint64) {
	f.t.Helper()
	for p := range shares {
		for number := from; number <= to; number++ {
			f.send(p, number)
		}
	}
}

// configured counts the records with limits in a log.
func (f *fleet) configured(p int) (n int) {
	f.t.Helper()
	for seq := range f.last(p) {
		msg, err := f.broker.Message(f.ctx(), p, seq+1)
		if err != nil {
			f.t.Fatal(err)
		}
		batch, err := record.ParseBatch(msg.Header, msg.Data)
		if err != nil {
			f.t.Fatal(err)
		}
		_ = batch.Lines(func(_ int, line []byte) error {
			var r record.Record
			if r.Decode(line, batch.Version) == nil && r.Kind == record.Configure {
				n++
			}
			return nil
		})
	}
	return n
}
