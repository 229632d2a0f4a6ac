package machinetest

import (
	"bytes"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// Defaults are limits for tests that do not care.
var Defaults = record.Limits{Machine: machine.Version, MaxUserBytes: 512 << 10, MaxPending: 1000, OutcomesKeep: 60 * 60 * 1000}

// Message packs records as an appender does. Of batch, Count and Payload are filled in.
func Message(seq uint64, serverTime machine.Millis, batch record.Batch, records ...record.Record) machine.Message {
	lines := make([][]byte, len(records))
	for i := range records {
		lines[i] = records[i].AppendTo(nil)
		batch.Version = max(batch.Version, records[i].Version())
	}
	return Raw(seq, serverTime, batch, lines...)
}

// Raw is Message of lines as they are, in the version that batch has.
func Raw(seq uint64, serverTime machine.Millis, batch record.Batch, lines ...[]byte) machine.Message {
	batch.Count, batch.Payload = len(lines), bytes.Join(lines, []byte{'\n'})
	return machine.Message{Seq: seq, Time: serverTime, Header: batch.Header(), Payload: batch.Payload}
}

// Configure is the first message of a log.
func Configure(serverTime machine.Millis, limits record.Limits) machine.Message {
	return Message(1, serverTime, record.Batch{Writer: "ensure", Time: serverTime}, record.Record{Kind: record.Configure, Limits: limits})
}
