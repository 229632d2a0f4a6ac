package partition

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// lookup is what the log itself says of a record.
type lookup struct {
	q       *question
	pos     record.Position
	gone    bool // the message is not in the log any more
	theirs  bool // the record is there and belongs to the account that asks
	outcome machine.Outcome
	err     error
}

// answerOutcome tells what became of a record. Another account's record is not found, like one that does not exist.
func (d *desk) answerOutcome(q *question) error {
	pos, ok, err := d.position(q.req.Outcome.ID)
	switch {
	case errors.Is(err, errNoRecord):
		d.reply(q, statequery.Reply{Error: statequery.WordNotFound})
		return nil
	case err != nil:
		return err
	case !ok:
		d.denyOrWait(q)
		return nil
	case pos.Seq > d.a.last.seq:
		d.answerFuture(q, pos)
		return nil
	}
	out, ok, err := d.outcome(pos)
	switch {
	case err != nil:
		return err
	case !ok:
		d.answerForgotten(q, pos)
	case out.Account != q.req.Outcome.Account:
		d.reply(q, statequery.Reply{Error: statequery.WordNotFound})
	case q.req.Outcome.Final && !out.Status.Final():
		d.awaitChange(q, pos)
	default:
		d.replyOutcome(q, out)
	}
	return nil
}

func (d *desk) replyOutcome(q *question, out machine.Outcome) {
	d.reply(q, statequery.Reply{Outcome: ViewOutcome(d.a.cfg.Partition, out)})
}

// denyOrWait says not found if that is final, and sees to it that it becomes final if not.
func (d *desk) denyOrWait(q *question) {
	if d.final(q) {
		d.reply(q, statequery.Reply{Error: statequery.WordNotFound})
		return
	}
	d.readBound(q)
}

// outcome is the stored outcome, or that of a trigger which is still scheduled when its stored one was dropped.
func (d *desk) outcome(pos record.Position) (machine.Outcome, bool, error) {
	out, ok, err := d.a.store.Outcome(pos)
	if ok || err != nil {
		return out, ok, err
	}
	_, account, user, ok, err := d.a.store.DueOf(pos)
	if !ok || err != nil {
		return out, ok, err
	}
	out = machine.Outcome{Position: pos, Kind: record.Trigger, Account: string(account), User: string(user), Status: machine.Scheduled}
	u, err := d.a.store.User(account, user)
	if err != nil || u == nil {
		return out, err == nil, err
	}
	for _, p := range u.Pending {
		if p.Due.Position == pos {
			out.AcceptedAt = p.AcceptedAt
		}
	}
	for _, c := range u.Changes {
		if c.ID == pos {
			out.AppliedAt = c.At
		}
	}
	return out, true, nil
}

// answerFuture is about a position that is not applied: beyond the end of the log it does not exist; before it the record is there,
// and is waited for if the question is about its final outcome.
func (d *desk) answerFuture(q *question, pos record.Position) {
	switch {
	case !q.read:
		d.readBound(q)
	case pos.Seq > q.bound:
		d.reply(q, statequery.Reply{Error: statequery.WordNotFound})
	case q.req.Outcome.Final:
		d.awaitSeq(q, pos.Seq)
	default:
		d.startLookup(q, pos)
	}
}

// answerForgotten is about a position that is applied and has no outcome: expired, if the record was there and the account's. If the
// log cannot tell any more, expired too.
func (d *desk) answerForgotten(q *question, pos record.Position) {
	switch {
	case q.lookup == nil:
		d.startLookup(q, pos)
	case q.lookup.gone || q.lookup.theirs:
		d.reply(q, statequery.Reply{Error: statequery.WordExpired})
	default:
		d.reply(q, statequery.Reply{Error: statequery.WordNotFound})
	}
}

// giveUpOutcome answers when the time is over: with the record itself if it is not applied, with its state if that is not final.
func (d *desk) giveUpOutcome(q *question) {
	pos, ok, err := d.position(q.req.Outcome.ID)
	if err == nil && ok && pos.Seq > d.a.last.seq && q.read && pos.Seq <= q.bound {
		d.startLookup(q, pos)
		return
	}
	if err == nil && ok && pos.Seq <= d.a.last.seq {
		out, ok, err := d.outcome(pos)
		if err == nil && ok && out.Account == q.req.Outcome.Account {
			d.replyOutcome(q, out)
			return
		}
	}
	d.reply(q, statequery.Reply{Error: statequery.WordBehind})
}

// startLookup reads the record from the log.
func (d *desk) startLookup(q *question, pos record.Position) {
	if d.lookups >= maxLookups {
		d.reply(q, statequery.Reply{Error: statequery.WordOverloaded})
		return
	}
	d.lookups++
	q.lookup = &lookup{}
	account := q.req.Outcome.Account
	d.a.spawn(func(ctx context.Context) {
		l := d.a.lookup(ctx, pos, account)
		l.q = q
		d.found <- l
	})
}

// looked goes on with a question for which the log was read.
func (d *desk) looked(l lookup) {
	d.lookups--
	q := l.q
	q.lookup = &l
	switch {
	case l.err != nil:
		d.reply(q, statequery.Reply{Error: statequery.WordBehind})
	case l.pos.Seq <= d.a.last.seq: // applied meanwhile, or before
		q.req.Outcome.Final = false
		d.answer(q)
	case l.theirs:
		d.replyOutcome(q, l.outcome)
	default:
		d.reply(q, statequery.Reply{Error: statequery.WordNotFound})
	}
}

// lookup reads one record from the leader of the log. Safe beside the actor.
func (p *Partition) lookup(ctx context.Context, pos record.Position, account string) lookup {
	l := lookup{pos: pos}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.BrokerTimeout)
	defer cancel()
	msg, err := p.deps.Broker.Message(ctx, p.cfg.Partition, pos.Seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		l.gone = true
		return l
	case err != nil:
		l.err = err
		return l
	}
	batch, err := record.ParseBatch(msg.Header, msg.Data)
	if err != nil { // a dead letter as a whole, or will be
		return l
	}
	_ = batch.Lines(func(index int, line []byte) error {
		var r record.Record
		if index != int(pos.Index) || r.Decode(line, batch.Version) != nil || string(r.Account) != account {
			return nil
		}
		l.theirs = true
		l.outcome = machine.Outcome{Position: pos, Kind: r.Kind, Account: account, User: string(r.User), Status: machine.Accepted,
			AcceptedAt: msg.Time.UnixMilli()}
		return nil
	})
	return l
}
