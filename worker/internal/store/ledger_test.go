package store

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// The ledger belongs to its checkpoint: it comes back with it, and one that an older triggerd left behind, or a newer one wrote otherwise, is not believed.
func TestLedgerBelongsToItsCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.db")
	ledger := machine.Ledger{Since: 2, Records: 9, Applied: 4, Rejected: 2, Duplicate: 1, Unreadable: 1, Control: 1, Events: 33}
	head := machine.Head{Applied: 5, Events: 33}
	s := mustOpen(t, path, testOptions())
	c := checkpointAt(head)
	c.Ledger = ledger
	s.Freeze(c)
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Release()
	mustClose(t, s)

	for _, step := range []struct {
		name   string
		change func(b *bbolt.Bucket) error
		want   machine.Ledger
	}{
		{"as it was written", func(*bbolt.Bucket) error { return nil }, ledger},
		{"of another version", func(b *bbolt.Bucket) error { return putMeta(b, ledgerKey, []byte{ledgerVersion + 1, 1, 2, 3}) }, machine.NewLedger(&head)},
		{"of an earlier checkpoint", func(b *bbolt.Bucket) error { return putMeta(b, ledgerKey, appendLedger(nil, 4, &ledger)) }, machine.NewLedger(&head)},
		{"missing", func(b *bbolt.Bucket) error { return b.Delete(ledgerKey) }, machine.NewLedger(&head)},
	} {
		s := mustOpen(t, path, testOptions())
		if err := s.file.db.Update(func(tx *bbolt.Tx) error { return step.change(tx.Bucket(metaBucket)) }); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		s = mustOpen(t, path, testOptions())
		if c, ok := s.Last(); !ok || c.Ledger != step.want {
			t.Errorf("%s: ledger is %+v, want %+v", step.name, c.Ledger, step.want)
		}
		mustClose(t, s)
	}
}
