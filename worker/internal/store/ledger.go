package store

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/triggerd/triggerd/worker/internal/machine"
)

// ledgerVersion is that of the ledger's value. It is no part of the state: a file without one, or with one that is not known here, is as good as any.
const ledgerVersion = 1

// fieldsOf are the ledger's numbers in the order of the file.
func fieldsOf(l *machine.Ledger) []*uint64 {
	return []*uint64{&l.Since, &l.Records, &l.Applied, &l.Rejected, &l.Duplicate, &l.Unreadable, &l.Control, &l.Events}
}

// appendLedger encodes a ledger with the sequence up to which it counts: a worker that knows nothing of ledgers writes a checkpoint and leaves it as it was.
func appendLedger(dst []byte, seq uint64, l *machine.Ledger) []byte {
	dst = binary.AppendUvarint(append(dst, ledgerVersion), seq)
	for _, field := range fieldsOf(l) {
		dst = binary.AppendUvarint(dst, *field)
	}
	return dst
}

// readLedger reads the ledger of a checkpoint. One that is missing, of another version, or of an earlier checkpoint begins anew; a damaged one is damage.
func readLedger(b *bbolt.Bucket, c *Checkpoint) (machine.Ledger, error) {
	fresh := machine.NewLedger(&c.Head)
	if b.Get(ledgerKey) == nil {
		return fresh, nil
	}
	content, err := getMeta(b, ledgerKey)
	if err != nil || len(content) == 0 || content[0] != ledgerVersion {
		return fresh, err
	}
	d := &decoder{b: content[1:]}
	if seq := d.uvarint(); !d.bad && seq != c.Seq {
		return fresh, nil
	}
	var l machine.Ledger
	for _, field := range fieldsOf(&l) {
		*field = d.uvarint()
	}
	if !d.end() {
		return fresh, corrupt("decode ledger")
	}
	return l, nil
}
