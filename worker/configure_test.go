package worker

import (
	"strings"
	"testing"
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
	ends := f.ends()
	if again, _ := f.typed(0, "configure", "-set", "max-keys=12345"); again != after {
		t.Errorf("said again it shows\n%s\nbefore\n%s", again, after)
	}
	for p, end := range f.ends() {
		if end != ends[p] {
			t.Errorf("partition %d got a record that says what was said", p)
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

// ends are the last sequences of the logs.
func (f *fleet) ends() (ends [shares]uint64) {
	f.t.Helper()
	for p := range ends {
		ends[p] = f.last(p)
	}
	return ends
}
