package partition

import (
	"fmt"

	"github.com/triggerd/triggerd/shared/statequery"
)

// answerStatus says where the partition stands.
func (d *desk) answerStatus(q *question) error {
	f, now := d.a.view.read(), d.a.deps.Now()
	s := &statequery.Status{Owner: d.a.cfg.Writer, State: f.state.String(), Since: f.since.UnixMilli(), Last: f.last,
		OldestAge: f.oldest(now).Milliseconds(), Events: f.events, Emitted: f.emitted, Pending: f.pending, Users: d.a.machine.Users(),
		StreamTime: d.a.machine.StreamTime(), CheckpointSeq: f.checkpointSeq, CheckpointAge: f.checkpointAge(now).Milliseconds(),
		Limits: statequery.Limits(d.a.machine.Limits())}
	if q.req.Status.Digest {
		digest, err := d.a.store.Digest(d.a.machine.Head())
		if err != nil {
			return err
		}
		s.Digest = fmt.Sprintf("%016x", digest)
	}
	d.reply(q, statequery.Reply{Status: s})
	return nil
}
