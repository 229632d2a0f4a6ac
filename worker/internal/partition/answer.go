package partition

import (
	"context"
	"errors"
	"log/slog"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// answer is a reply on its way to the writer. The user is rendered there: users are immutable, and rendering is not the
// actor's work.
type answer struct {
	q     *question
	reply statequery.Reply
	user  *machine.User
}

// reply ends a question's life.
func (d *desk) reply(q *question, r statequery.Reply) { d.replyUser(q, r, nil) }

func (d *desk) replyUser(q *question, r statequery.Reply, u *machine.User) {
	if q.answered {
		return
	}
	q.answered = true
	d.waiting--
	r.Applied = d.a.last.seq
	d.respond(answer{q, r, u})
}

// refuse answers with a word alone, also a question whose life has not begun.
func (d *desk) refuse(q *question, word string) {
	d.waiting++ // as if it had begun
	if q.answered {
		d.waiting--
		return
	}
	d.reply(q, statequery.Reply{Error: word})
}

// respond hands over to the writer; it never blocks. What the writer cannot keep up with is dropped, and the asker, hearing nothing, asks again.
func (d *desk) respond(ans answer) {
	if !d.open { // a read came back after closing; whoever asked has been told, or asks again
		return
	}
	word := ans.reply.Error
	if word == "" {
		word = "ok"
	}
	select {
	case d.answers <- ans:
	default:
		word = "dropped"
	}
	d.a.deps.Metrics.questions.WithLabelValues(d.a.label(), word).Inc()
}

// write renders and sends answers.
func (d *desk) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			d.writeRest()
			return
		case ans := <-d.answers:
			d.send(ans)
		}
	}
}

// writeRest sends what was answered before the desk closed.
func (d *desk) writeRest() {
	for {
		select {
		case ans := <-d.answers:
			d.send(ans)
		default:
			return
		}
	}
}

func (d *desk) send(ans answer) {
	if ans.user != nil {
		ans.reply.User = ViewUser(d.a.cfg.Partition, ans.user)
	}
	data, err := statequery.EncodeReply(ans.reply)
	if err == nil {
		err = ans.q.msg.Respond(data)
	}
	if err != nil {
		d.a.log.Debug("answer was not sent", "cause", err) // most likely nobody waits for it
	}
}

// answer answers q from the overlay, or lets it wait for what is missing.
func (d *desk) answer(q *question) {
	var err error
	switch {
	case q.req.Check != nil:
		err = d.answerCheck(q)
	case q.req.User != nil:
		err = d.answerUser(q)
	case q.req.Outcome != nil:
		err = d.answerOutcome(q)
	case q.req.DeadLetters != nil:
		err = d.answerDeadLetters(q)
	case q.req.Status != nil:
		err = d.answerStatus(q)
	default:
		d.reply(q, statequery.Reply{})
	}
	if err != nil { // a read of the file failed
		d.a.suspect(err)
		d.trouble.Again(d.a.log, slog.LevelError, "question was not answered", "cause", err)
		d.reply(q, statequery.Reply{Error: statequery.WordBehind})
	}
}

// giveUp answers q with what is known when its time is over.
func (d *desk) giveUp(q *question) {
	switch {
	case q.req.Check != nil && q.req.WaitSeq <= d.a.last.seq:
		reply, _, err := d.check(q.req.Check)
		if err == nil {
			reply.Error = statequery.WordBehind
			d.reply(q, reply)
			return
		}
	case q.req.Status != nil: // it says where it is, wherever that is
		if d.answerStatus(q) == nil {
			return
		}
	case q.req.Outcome != nil && q.lookup == nil && q.req.WaitSeq <= d.a.last.seq:
		d.giveUpOutcome(q)
		return
	}
	d.reply(q, statequery.Reply{Error: statequery.WordBehind})
}

func (d *desk) answerCheck(q *question) error {
	reply, all, err := d.check(q.req.Check)
	if err != nil {
		return err
	}
	switch {
	case all || d.final(q):
		d.reply(q, reply)
	case q.req.WaitMillis == 0:
		reply.Error = statequery.WordBehind
		d.reply(q, reply)
	default:
		d.readBound(q)
	}
	return nil
}

// check looks up what is asked for; all says that everything is known.
func (d *desk) check(asked []statequery.Check) (reply statequery.Reply, all bool, err error) {
	reply.Known, all = make([]bool, len(asked)), true
	for i, c := range asked {
		user, err := d.a.store.User([]byte(c.Account), []byte(c.User))
		if err != nil {
			return reply, false, err
		}
		reply.Known[i] = user != nil
		all = all && reply.Known[i]
		if c.Key == "" {
			continue
		}
		if reply.Keys == nil {
			reply.Keys, reply.KeysFull = make([]statequery.KnownKey, len(asked)), d.a.machine.KeysFull(d.now())
		}
		if reply.Keys[i], err = d.key(c); err != nil {
			return reply, false, err
		}
		all = all && reply.Keys[i].TriggerID != ""
	}
	return reply, all, nil
}

// key says what a key stands for.
func (d *desk) key(c statequery.Check) (known statequery.KnownKey, err error) {
	k, ok, err := d.a.store.Key([]byte(c.Account), []byte(c.User), []byte(c.Key))
	if err == nil && ok && d.a.machine.Remembers(k, d.now()) {
		known = statequery.KnownKey{TriggerID: id(d.a.cfg.Partition, k.Position), Print: k.Print}
	}
	return known, err
}

// now is the clock that a message would bring if it came now.
func (d *desk) now() machine.Millis { return d.a.deps.Now().UnixMilli() }

func (d *desk) answerUser(q *question) error {
	user, err := d.a.store.User([]byte(q.req.User.Account), []byte(q.req.User.User))
	switch {
	case err != nil:
		return err
	case user != nil || d.final(q):
		d.replyUser(q, statequery.Reply{}, user)
	default:
		d.readBound(q)
	}
	return nil
}

// maxDeadLetters is how many of a partition's newest dead letters are searched for an account's.
const maxDeadLetters = 10_000

// answerDeadLetters shows an account's poison records, and those that belong to nobody because they could not be read.
func (d *desk) answerDeadLetters(q *question) error {
	letters, err := d.a.store.DeadLetters(maxDeadLetters)
	if err != nil {
		return err
	}
	reply := statequery.Reply{}
	for _, l := range letters {
		if len(reply.DeadLetters) == q.req.DeadLetters.Limit {
			break
		}
		if l.Account == "" || l.Account == q.req.DeadLetters.Account {
			reply.DeadLetters = append(reply.DeadLetters, viewDeadLetter(d.a.cfg.Partition, l))
		}
	}
	d.reply(q, reply)
	return nil
}

// final says whether a negative answer to q is final: everything is applied that was in the log when q came.
func (d *desk) final(q *question) bool { return q.read && d.a.last.seq >= q.bound }

// readBound finds out where the log ends, for a question whose answer is negative. One read serves all that wait when it begins; those
// that come while it runs wait for the next one, because it may have looked before they came. q nil: for the actor itself.
func (d *desk) readBound(q *question) {
	if q == nil {
		d.again = true
	} else if q.read { // known already, not applied yet
		d.awaitSeq(q, q.bound)
		return
	} else {
		d.next = append(d.next, q)
	}
	d.startRead()
}

func (d *desk) startRead() {
	if d.reading || len(d.next) == 0 && !d.again {
		return
	}
	b := bound{asked: d.next, have: d.a.last.seq, actors: d.again}
	d.reading, d.next, d.again = true, nil, false
	d.a.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, d.a.cfg.BrokerTimeout)
		defer cancel()
		b.seq, b.err = d.a.deps.Broker.LastSeq(ctx, d.a.cfg.Partition)
		if b.err == nil && b.seq < b.have { // whoever said that has not heard of all: nothing is final because of it
			b.err = errBehind
		}
		d.bounds <- b
	})
}

// bounded goes on with the questions for which a read was made.
func (d *desk) bounded(b bound) {
	d.reading = false
	if b.actors && !d.again && b.err == nil {
		d.a.overtook.seq = b.seq
	}
	for _, q := range b.asked {
		if b.err != nil {
			d.giveUp(q)
			continue
		}
		q.bound, q.read = b.seq, true
		d.answer(q)
	}
	d.startRead()
}

// position finds the record that an outcome is asked of. ok is false if there is none as far as is applied; err is
// errNoRecord if there can never be one here.
func (d *desk) position(id string) (pos record.Position, ok bool, err error) {
	if rid, err := record.ParseID(id); err == nil {
		if rid.Partition != d.a.cfg.Partition {
			return pos, false, errNoRecord
		}
		return rid.Position, true, nil
	}
	rec, err := record.ParseReceipt(id)
	if err != nil || rec.Partition != d.a.cfg.Partition {
		return pos, false, errNoRecord
	}
	seq, ok, err := d.a.store.Batch(rec.Writer, rec.Number)
	return record.Position{Seq: seq, Index: rec.Index}, ok, err
}

var errBehind = errors.New("the log ends before what is applied")

var errNoRecord = errors.New("no record of this partition")
