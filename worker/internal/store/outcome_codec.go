package store

import (
	"encoding/binary"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// packVersion is the first byte of the outcomes of a message.
const packVersion = 1

// Flags of an outcome: what is not as in most.
const (
	outcomeAccount   = 1 << iota // another account than the first
	outcomeReason                // has one
	outcomeDuplicate             // has a DuplicateOf
	outcomeAccepted              // another AcceptedAt than the first
	outcomeApplied               // another AppliedAt than the first
	outcomeVersion               // has a UserVersion
	outcomeFlags
)

// appendPack encodes the outcomes of one message, at least one, in the order of their positions. What most share is
// written once. Each has its length before it, so that one can be found without decoding the others.
func appendPack(dst []byte, outs []machine.Outcome) []byte {
	first := &outs[0]
	dst = append(dst, packVersion)
	dst = binary.AppendVarint(dst, first.AcceptedAt)
	dst = binary.AppendVarint(dst, first.AppliedAt)
	dst = appendText(dst, first.Account)
	next := uint32(0)
	for i := range outs {
		dst = append(dst, 0) // the length, if it fits
		start := len(dst)
		dst = binary.AppendUvarint(dst, uint64(outs[i].Position.Index-next))
		dst = appendOutcome(dst, &outs[i], first)
		dst = setLength(dst, start)
		next = outs[i].Position.Index + 1
	}
	return dst
}

// setLength writes the length of dst[start:] before it, where there is one byte for it.
func setLength(dst []byte, start int) []byte {
	n := len(dst) - start
	if n < 0x80 {
		dst[start-1] = byte(n)
		return dst
	}
	var size [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(size[:], uint64(n))
	dst = append(dst, size[1:k]...) // room
	copy(dst[start-1+k:], dst[start:start+n])
	copy(dst[start-1:], size[:k])
	return dst
}

func appendOutcome(dst []byte, o, first *machine.Outcome) []byte {
	flags := outcomeFlagsOf(o, first)
	dst = append(dst, byte(o.Kind), byte(o.Status), flags)
	dst = appendText(dst, o.User)
	if flags&outcomeAccount != 0 {
		dst = appendText(dst, o.Account)
	}
	if flags&outcomeReason != 0 {
		dst = appendText(dst, o.Reason)
	}
	if flags&outcomeDuplicate != 0 {
		dst = binary.AppendUvarint(dst, o.DuplicateOf.Seq)
		dst = binary.AppendUvarint(dst, uint64(o.DuplicateOf.Index))
	}
	if flags&outcomeAccepted != 0 {
		dst = binary.AppendVarint(dst, o.AcceptedAt-first.AcceptedAt)
	}
	if flags&outcomeApplied != 0 {
		dst = binary.AppendVarint(dst, o.AppliedAt-first.AppliedAt)
	}
	if flags&outcomeVersion != 0 {
		dst = binary.AppendUvarint(dst, o.UserVersion)
	}
	return dst
}

func outcomeFlagsOf(o, first *machine.Outcome) (flags byte) {
	set := func(flag byte, on bool) {
		if on {
			flags |= flag
		}
	}
	set(outcomeAccount, o.Account != first.Account)
	set(outcomeReason, o.Reason != "")
	set(outcomeDuplicate, o.DuplicateOf != record.Position{})
	set(outcomeAccepted, o.AcceptedAt != first.AcceptedAt)
	set(outcomeApplied, o.AppliedAt != first.AppliedAt)
	set(outcomeVersion, o.UserVersion != 0)
	return flags
}

// packDecoder walks the outcomes of one message.
type packDecoder struct {
	decoder
	seq     uint64
	first   machine.Outcome // what is shared
	account []byte          // first.Account, still to be copied
	next    uint64          // lowest index that may follow
}

func openPack(seq uint64, b []byte) (*packDecoder, error) {
	if len(b) > 0 && b[0] != packVersion {
		return nil, unknownVersion("outcomes", b[0], packVersion)
	}
	d := &packDecoder{decoder: decoder{b: b}, seq: seq}
	d.byte()
	d.first.AcceptedAt, d.first.AppliedAt = d.varint(), d.varint()
	d.account = d.take(d.uvarint())
	if d.bad || len(d.b) == 0 {
		return nil, corrupt("decode outcomes of message %d", seq)
	}
	return d, nil
}

// entry is the next outcome, not decoded yet.
func (d *packDecoder) entry() (index uint32, body decoder, ok bool) {
	body = decoder{b: d.take(d.uvarint())}
	at := d.next + body.uvarint()
	if d.bad || body.bad || at < d.next || at > 1<<32-1 {
		d.fail()
		return 0, body, false
	}
	d.next = at + 1
	return uint32(at), body, true
}

// decode is the outcome whose entry was returned.
func (d *packDecoder) decode(index uint32, b decoder) (o machine.Outcome, ok bool) {
	o = machine.Outcome{Position: record.Position{Seq: d.seq, Index: index}, AcceptedAt: d.first.AcceptedAt, AppliedAt: d.first.AppliedAt}
	o.Kind, o.Status = record.Kind(b.byte()), machine.Status(b.byte())
	flags := b.byte()
	o.User = b.text()
	if o.Account = string(d.account); flags&outcomeAccount != 0 {
		o.Account = b.text()
	}
	if flags&outcomeReason != 0 {
		o.Reason = b.text()
	}
	if flags&outcomeDuplicate != 0 {
		o.DuplicateOf = record.Position{Seq: b.uvarint(), Index: b.uint32()}
	}
	if flags&outcomeAccepted != 0 {
		o.AcceptedAt += b.varint()
	}
	if flags&outcomeApplied != 0 {
		o.AppliedAt += b.varint()
	}
	if flags&outcomeVersion != 0 {
		o.UserVersion = b.uvarint()
	}
	first := machine.Outcome{Account: string(d.account), AcceptedAt: d.first.AcceptedAt, AppliedAt: d.first.AppliedAt}
	return o, b.end() && flags < outcomeFlags && flags == outcomeFlagsOf(&o, &first)
}

// findOutcome is the outcome of one record of a message.
func findOutcome(p record.Position, b []byte) (o machine.Outcome, ok bool, err error) {
	d, err := openPack(p.Seq, b)
	if err != nil {
		return o, false, err
	}
	for len(d.b) > 0 {
		index, body, ok := d.entry()
		switch {
		case !ok:
			return o, false, corrupt("decode outcomes of message %d", p.Seq)
		case index > p.Index:
			return o, false, nil
		case index == p.Index:
			if o, ok = d.decode(index, body); !ok {
				return machine.Outcome{}, false, corrupt("decode outcome %d-%d", p.Seq, p.Index)
			}
			return o, true, nil
		}
	}
	return o, false, nil
}

// decodePack is all outcomes of a message.
func decodePack(seq uint64, b []byte) (outs []machine.Outcome, err error) {
	d, err := openPack(seq, b)
	if err != nil {
		return nil, err
	}
	for len(d.b) > 0 {
		index, body, ok := d.entry()
		if !ok {
			return nil, corrupt("decode outcomes of message %d", seq)
		}
		o, ok := d.decode(index, body)
		if !ok {
			return nil, corrupt("decode outcome %d-%d", seq, index)
		}
		outs = append(outs, o)
	}
	first := &outs[0] // is where the shared parts are from
	if first.AcceptedAt != d.first.AcceptedAt || first.AppliedAt != d.first.AppliedAt || first.Account != string(d.account) {
		return nil, corrupt("decode outcomes of message %d", seq)
	}
	return outs, nil
}
