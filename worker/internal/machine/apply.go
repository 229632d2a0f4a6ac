package machine

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"github.com/triggerd/triggerd/shared/record"
)

// applyRecord applies one line of the batch.
func (m *Machine) applyRecord(index int, line []byte) error {
	pos := record.Position{Seq: m.msg.Seq, Index: uint32(index)}
	err := m.decode(line)
	if err == nil && m.rec.Kind == record.Configure {
		m.result.Control++
		return m.configure(m.rec.Limits)
	}
	if m.judge == nil {
		return haltf("record %d: the log does not begin with a configure record", index)
	}
	if err != nil {
		return m.applyUnreadable(pos, line)
	}
	if m.rec.Kind == record.Tick {
		m.result.Control++
		return nil
	}
	return m.applyToUser(pos, line)
}

// applyToUser judges a record that is about a user and writes what it does. The user is read before the
// judgement begins: a fault of the Store must not be taken for a fault of the record.
func (m *Machine) applyToUser(pos record.Position, line []byte) error {
	if err := m.prepare(pos); err != nil {
		return err
	}
	if fault := m.judgeSafely(); fault != nil {
		m.result.Panic, m.result.PanicTrace = fault, string(m.rec.Trace)
		m.bury(pos, line, DeadPanic)
		m.fx.reset()
		m.fx.reject(&m.in, ReasonPoison)
	}
	m.write()
	return nil
}

// applyUnreadable makes a line that is no record a dead letter. If it can be read whose it was, its
// writer learns of it as of any rejection.
func (m *Machine) applyUnreadable(pos record.Position, line []byte) error {
	if !salvage(line, &m.rec) {
		m.bury(pos, line, DeadRecord)
		m.result.Unreadable++
		return nil
	}
	if err := m.prepare(pos); err != nil {
		return err
	}
	m.bury(pos, line, DeadRecord)
	m.fx.reset()
	m.fx.reject(&m.in, ReasonPoison)
	m.write()
	return nil
}

// prepare gathers what the record in m.rec is judged by.
func (m *Machine) prepare(pos record.Position) error {
	u, err := m.store.User(m.rec.Account, m.rec.User)
	if err != nil {
		return halt("read user", err)
	}
	known, state, err := m.keyOf()
	if err != nil {
		return err
	}
	m.in = input{known: known, key: state, rec: &m.rec, pos: pos, user: u, now: m.head.StreamTime, acceptedAt: m.msg.Time, limits: m.head.Limits}
	return nil
}

// decode reads a line into m.rec. A panic of the decoder is an unreadable line.
func (m *Machine) decode(line []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
			m.result.Panic = err
		}
	}()
	return m.rec.Decode(line, m.batch.Version)
}

// judgeSafely lets the judgement fill in m.fx; a panic is returned and leaves nothing but m.fx in
// disorder.
func (m *Machine) judgeSafely() (fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = panicError(p)
		}
	}()
	m.fx.reset()
	m.judge(&m.in, &m.fx)
	return nil
}

func panicError(p any) error { return fmt.Errorf("panic: %v\n%s", p, debug.Stack()) }

// write carries the effects of a record over to the Store, counts them and tells its events.
func (m *Machine) write() {
	account, user := m.rec.Account, m.rec.User
	if m.in.key == keyNew {
		m.remember()
	}
	if m.fx.changed {
		m.putUser(account, user, m.in.user)
	}
	if m.fx.schedule {
		m.store.PutDue(m.fx.due, account, user)
		m.head.Pending++
	}
	for i := range m.fx.cancelled {
		m.cancel(&m.fx.cancelled[i], account, user)
	}
	if m.fx.outcome.Status != 0 {
		m.outs.add(account, user, m.fx.outcome)
	}
	m.count()
	m.emitAll(account, user)
}

// putUser writes the changed user and keeps the count.
func (m *Machine) putUser(account, user []byte, before *User) {
	m.store.PutUser(account, user, m.fx.next)
	switch {
	case before == nil && m.fx.next != nil:
		m.head.Users++
	case before != nil && m.fx.next == nil:
		m.head.Users--
	}
}

// cancel takes a redirect out of the due index because its user is deleted.
func (m *Machine) cancel(p *Pending, account, user []byte) {
	m.store.DeleteDue(p.Due)
	m.head.Pending--
	m.result.Cancelled++
	m.putLate(account, user, Outcome{
		Position: p.Due.Position, Kind: record.Trigger, Status: Rejected, Reason: ReasonUserDeleted,
		AcceptedAt: p.AcceptedAt, AppliedAt: m.head.StreamTime, UserVersion: m.fx.outcome.UserVersion,
	})
}

// putLate stores an outcome that changes an earlier one. One of this very message isn't stored yet: it is put right there.
func (m *Machine) putLate(account, user []byte, out Outcome) {
	if out.Position.Seq == m.msg.Seq && m.outs.replace(out) {
		return
	}
	out.Account, out.User = string(account), string(user)
	m.store.PutOutcome(m.hour, out)
}

// emitAll numbers the events of the effects and hands them out.
func (m *Machine) emitAll(account, user []byte) {
	for i := range m.fx.events {
		e := &m.fx.events[i]
		m.head.Events++
		e.Number, e.Partition = m.head.Events, m.partition
		e.Account, e.User = account, user
		m.emit(e)
	}
}

// skipRecord notes that a record of a late copy was applied at another place. What cannot be read is
// a dead letter there, and nothing here.
func (m *Machine) skipRecord(index int, line []byte) error {
	m.result.Duplicates++
	if m.decode(line) != nil || len(m.rec.User) == 0 {
		return nil
	}
	out := Outcome{
		Position: record.Position{Seq: m.msg.Seq, Index: uint32(index)}, Kind: m.rec.Kind, Status: Duplicate,
		AcceptedAt: m.msg.Time, AppliedAt: m.head.StreamTime,
	}
	if m.original != 0 {
		out.DuplicateOf = record.Position{Seq: m.original, Index: uint32(index)}
	}
	m.outs.add(m.rec.Account, m.rec.User, out)
	return nil
}

// bury makes a dead letter of a line, which is the account's in m.rec.
func (m *Machine) bury(pos record.Position, line []byte, reason string) {
	m.store.PutDeadLetter(DeadLetter{
		Position: pos, Account: string(m.rec.Account), Reason: reason, At: m.head.StreamTime, Data: bytes.Clone(line),
	})
	m.result.DeadLetters++
}

// buryBatch makes one dead letter of a message that is no batch. Its writer's clock can't be known, so stream
// time stands still.
func (m *Machine) buryBatch() error {
	if m.judge == nil {
		return haltf("the log does not begin with a configure record")
	}
	m.store.PutDeadLetter(DeadLetter{
		Position: record.Position{Seq: m.msg.Seq}, Whole: true, Reason: DeadBatch,
		At: m.head.StreamTime, Data: bytes.Clone(m.msg.Payload),
	})
	m.result.DeadLetters++
	m.result.Unreadable++
	return nil
}

// count adds the record's outcome to the result.
func (m *Machine) count() {
	r, status := &m.result, m.fx.outcome.Status
	switch kind := m.rec.Kind; {
	case kind == record.Trigger:
		r.Triggers++
		r.countTrigger(status)
	case status == Rejected:
		r.Refused++
	case kind == record.Register:
		r.Registered++
	case kind == record.Delete:
		r.Deleted++
	}
}

func (r *Result) countTrigger(s Status) {
	switch s {
	case Redirected:
		r.Redirected++
	case Applied:
		r.Updated++
	case Scheduled:
		r.Scheduled++
	case Rejected:
		r.Rejected++
	case Duplicate:
		r.Repeated++
	}
}
