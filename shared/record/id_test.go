package record_test

import (
	"errors"
	"testing"

	"github.com/triggerd/triggerd/shared/record"
	"pgregory.net/rapid"
)

// Callers store these names: the spelling must never change.
func TestNames(t *testing.T) {
	id := record.ID{Partition: 7, Position: record.Position{Seq: 10482, Index: 3}}
	if got := id.String(); got != "7-10482-3" {
		t.Errorf("id: %s", got)
	}
	receipt := record.Receipt{Partition: 7, Writer: "w0K3fQ9aZx7L", Number: 42, Index: 3}
	if got := receipt.String(); got != "r-7-w0K3fQ9aZx7L-42-3" {
		t.Errorf("receipt: %s", got)
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", "-", "--", "7", "7-1", "7-1-", "-1-1", "7--1", "7-1-1-", "7-1-1-1", "7-0-1", "07-1-1", "7-01-1", "7-1-01", "7-1-00",
		"+7-1-1", "7-+1-1", "7-1-+1", " 7-1-1", "7-1-1 ", "7-1-1\n", "7-1_0-1", "0x7-1-1", "7-1e3-1", "７-1-1", "7-1.0-1", "7/1/1",
		"2147483648-1-1", "7-18446744073709551616-1", "7-1-4294967296", "r-7-w-1-1",
	} {
		if id, err := record.ParseID(s); !errors.Is(err, record.ErrID) {
			t.Errorf("ParseID(%q) = %v, %v", s, id, err)
		}
	}
}

func TestParseReceiptRefuses(t *testing.T) {
	for _, s := range []string{
		"", "r", "r-", "r----", "r-7-w-1", "r-7-w-1-", "r-7--1-1", "r-7-w-1-1-1", "7-w-1-1", "R-7-w-1-1", "r-07-w-1-1", "r-7-w-01-1", "r-7-w-1-01",
		"r-7-w-0-1", "r-7-w_-1-1", "r-7-wé-1-1", "r-7-w -1-1", "r-+7-w-1-1", "r-7-w-+1-1", "r-7-w-1-+1", "r-2147483648-w-1-1",
		"r-7-w-18446744073709551616-1", "r-7-w-1-4294967296", " r-7-w-1-1", "7-10482-3",
		"r-7-wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww-1-1",
	} {
		if r, err := record.ParseReceipt(s); !errors.Is(err, record.ErrReceipt) {
			t.Errorf("ParseReceipt(%q) = %v, %v", s, r, err)
		}
	}
}

func TestNamesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := record.ID{
			Partition: int(rapid.Int32Min(0).Draw(t, "partition")),
			Position:  record.Position{Seq: rapid.Uint64Min(1).Draw(t, "seq"), Index: rapid.Uint32().Draw(t, "index")},
		}
		if got, err := record.ParseID(id.String()); err != nil || got != id {
			t.Fatalf("%v came back as %v, %v", id, got, err)
		}
		receipt := record.Receipt{
			Partition: id.Partition, Writer: rapid.StringMatching(`[0-9A-Za-z]{1,64}`).Draw(t, "writer"), Number: id.Seq, Index: id.Index,
		}
		if got, err := record.ParseReceipt(receipt.String()); err != nil || got != receipt {
			t.Fatalf("%v came back as %v, %v", receipt, got, err)
		}
	})
}

func TestPositionOrder(t *testing.T) {
	order := []record.Position{{1, 0}, {1, 1}, {1, 10}, {2, 0}, {10, 0}}
	for i, p := range order {
		for j, q := range order {
			if got, want := p.Compare(q), min(1, max(-1, i-j)); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", p, q, got, want)
			}
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"7-10482-3", "r-7-w0K3fQ9aZx7L-42-3", "0-1-0", "7-01-1", "r-7-w--1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := record.ParseID(s); err == nil && id.String() != s {
			t.Errorf("ParseID took %q for %v", s, id)
		}
		if r, err := record.ParseReceipt(s); err == nil && r.String() != s {
			t.Errorf("ParseReceipt took %q for %v", s, r)
		}
	})
}
