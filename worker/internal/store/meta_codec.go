package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Versions of single values. That of the file as a whole is formatVersion.
const (
	headVersion       = 2 // 1 if it has nothing to do with idempotency keys
	checkpointVersion = 1
	deadVersion       = 1
	sumsVersion       = 1
)

func unknownVersion(what string, found, known byte) error {
	return fmt.Errorf("%w: %s is of version %d, this program knows %d: run the triggerd that wrote it, or a newer one", ErrVersion, what, found, known)
}

// formatFor is the version of a head, and of a file with it: 2 if it has to do with idempotency keys.
func formatFor(h *machine.Head) byte {
	if h.Limits.MaxKeys != 0 || h.Limits.KeysKeep != 0 || len(h.Keys) > 0 {
		return 2
	}
	return 1
}

// appendHead encodes a head; writers are sorted, so that equal heads are equal bytes.
func appendHead(dst []byte, h *machine.Head) []byte {
	version := formatFor(h)
	dst = append(dst, version, boolByte(h.Configured))
	dst = binary.AppendUvarint(dst, h.Applied)
	dst = binary.AppendVarint(dst, h.StreamTime)
	dst = binary.AppendUvarint(dst, h.Events)
	dst = binary.AppendUvarint(dst, h.Users)
	dst = binary.AppendUvarint(dst, h.Pending)
	dst = binary.AppendVarint(dst, int64(h.Limits.Machine))
	dst = binary.AppendVarint(dst, h.Limits.MaxUserBytes)
	dst = binary.AppendVarint(dst, int64(h.Limits.MaxPending))
	dst = binary.AppendVarint(dst, h.Limits.OutcomesKeep)
	dst = binary.AppendUvarint(dst, uint64(len(h.Writers)))
	for _, name := range slices.Sorted(maps.Keys(h.Writers)) {
		dst = appendText(dst, name)
		dst = binary.AppendUvarint(dst, h.Writers[name].Number)
		dst = binary.AppendVarint(dst, h.Writers[name].Seen)
	}
	if version < 2 {
		return dst
	}
	dst = binary.AppendVarint(dst, h.Limits.MaxKeys)
	dst = binary.AppendVarint(dst, h.Limits.KeysKeep)
	dst = binary.AppendUvarint(dst, uint64(len(h.Keys)))
	for _, k := range h.Keys {
		dst = binary.AppendUvarint(binary.AppendVarint(dst, k.Hour), k.Count)
	}
	return dst
}

func decodeHead(b []byte) (h machine.Head, err error) {
	if len(b) > 0 && (b[0] < 1 || b[0] > headVersion) {
		return h, unknownVersion("head", b[0], headVersion)
	}
	d := &decoder{b: b}
	version := d.byte()
	configured := d.byte()
	h.Configured = configured == 1
	h.Applied, h.StreamTime, h.Events = d.uvarint(), d.varint(), d.uvarint()
	h.Users, h.Pending = d.uvarint(), d.uvarint()
	h.Limits = record.Limits{Machine: d.integer(), MaxUserBytes: d.varint(), MaxPending: d.integer(), OutcomesKeep: d.varint()}
	h.Writers = make(map[string]machine.Writer)
	before := ""
	for i := range d.count(3) {
		name := d.text()
		h.Writers[name] = machine.Writer{Number: d.uvarint(), Seen: d.varint()}
		if i > 0 && name <= before {
			d.fail()
		}
		before = name
	}
	if version >= 2 {
		decodeKeyCounts(d, &h)
	}
	if !d.end() || configured > 1 || version != formatFor(&h) {
		return machine.Head{}, corrupt("decode head")
	}
	return h, nil
}

func decodeKeyCounts(d *decoder, h *machine.Head) {
	h.Limits.MaxKeys, h.Limits.KeysKeep = d.varint(), d.varint()
	for i := range d.count(2) {
		k := machine.KeyHour{Hour: d.varint(), Count: d.uvarint()}
		if k.Count == 0 || i > 0 && k.Hour <= h.Keys[i-1].Hour {
			d.fail()
		}
		h.Keys = append(h.Keys, k)
	}
}

func appendCheckpoint(dst []byte, c *Checkpoint) []byte {
	dst = append(dst, checkpointVersion)
	dst = appendLog(dst, c.LogID, c.Partition)
	dst = binary.AppendUvarint(dst, c.Seq)
	dst = binary.AppendVarint(dst, c.Time)
	dst = binary.BigEndian.AppendUint64(dst, c.Hash)
	dst = binary.AppendUvarint(dst, c.EmittedSeq)
	return appendHead(dst, &c.Head)
}

func decodeCheckpoint(b []byte) (c Checkpoint, err error) {
	if len(b) > 0 && b[0] != checkpointVersion {
		return c, unknownVersion("checkpoint", b[0], checkpointVersion)
	}
	d := &decoder{b: b}
	d.byte()
	c.LogID, c.Partition = d.text(), d.integer()
	c.Seq, c.Time = d.uvarint(), d.varint()
	c.Hash, c.EmittedSeq = d.uint64(), d.uvarint()
	if d.bad || len(d.b) == 0 {
		return Checkpoint{}, corrupt("decode checkpoint")
	}
	if c.Head, err = decodeHead(d.b); err != nil {
		return Checkpoint{}, fmt.Errorf("decode checkpoint: %w", err)
	}
	return c, nil
}

// appendLog encodes whose state a file is, from its creation on.
func appendLog(dst []byte, logID string, partition int) []byte {
	return binary.AppendVarint(appendText(dst, logID), int64(partition))
}

func decodeLog(b []byte) (logID string, partition int, err error) {
	d := &decoder{b: b}
	logID, partition = d.text(), d.integer()
	if !d.end() {
		return "", 0, corrupt("decode log id")
	}
	return logID, partition, nil
}

func appendDeadLetter(dst []byte, l *machine.DeadLetter) []byte {
	dst = append(dst, deadVersion, boolByte(l.Whole))
	dst = appendText(dst, l.Account)
	dst = appendText(dst, l.Reason)
	dst = binary.AppendVarint(dst, l.At)
	return append(dst, l.Data...)
}

// decodeDeadLetter refers to nothing of b afterwards.
func decodeDeadLetter(p record.Position, b []byte) (l machine.DeadLetter, err error) {
	if len(b) > 0 && b[0] != deadVersion {
		return l, unknownVersion("dead letter", b[0], deadVersion)
	}
	d := &decoder{b: b}
	d.byte()
	whole := d.byte()
	l = machine.DeadLetter{Position: p, Whole: whole == 1, Account: d.text(), Reason: d.text(), At: d.varint()}
	if d.bad || whole > 1 {
		return machine.DeadLetter{}, corrupt("decode dead letter %d-%d", p.Seq, p.Index)
	}
	l.Data = slices.Clone(d.b)
	return l, nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
