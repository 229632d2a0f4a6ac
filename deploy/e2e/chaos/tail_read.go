package chaos

import (
	"context"
	"strconv"
	"time"

	"github.com/triggerd/triggerd/shared/record"
)

// tailMessage is one message of a log that may get lost.
type tailMessage struct {
	seq      uint64
	time     time.Time
	triggers map[string]Lost // by id
}

// readTail reads the last messages of a log that nobody appends to, some from before the tail included.
func (d *disaster) readTail(ctx context.Context, stream string) (tail []tailMessage, err error) {
	s, err := d.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	state := s.CachedInfo().State
	for seq := max(state.FirstSeq, d.cut.Kept); seq <= state.LastSeq; seq++ {
		msg, err := s.GetMsg(ctx, seq)
		if err != nil {
			return nil, err
		}
		triggers, err := d.triggersOf(seq, msg.Header, msg.Data)
		if err != nil {
			return nil, err
		}
		tail = append(tail, tailMessage{seq, msg.Time, triggers})
	}
	return tail, nil
}

// triggersOf are those of a message.
func (d *disaster) triggersOf(seq uint64, header map[string][]string, payload []byte) (map[string]Lost, error) {
	triggers := map[string]Lost{}
	batch, err := record.ParseBatch(header, payload)
	if err != nil {
		return nil, err
	}
	return triggers, batch.Lines(func(index int, line []byte) error {
		var r record.Record
		if err := r.Decode(line, batch.Version); err != nil || r.Kind != record.Trigger {
			return err
		}
		id := record.ID{Partition: d.p, Position: record.Position{Seq: seq, Index: uint32(index)}}
		for _, v := range r.Vars {
			if string(v.Name) == "n" {
				n, err := strconv.Atoi(string(v.Value))
				if err != nil {
					return err
				}
				triggers[id.String()] = Lost{User: string(r.User), N: n}
			}
		}
		return nil
	})
}
