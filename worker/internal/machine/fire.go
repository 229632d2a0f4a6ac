package machine

import "github.com/triggerd/triggerd/shared/record"

// fireDue fires every redirect that is due by the stream time, earliest first. It runs before the records of
// a message, so that a record never overtakes a redirect that was due before it.
func (m *Machine) fireDue() error {
	for {
		d, account, user, ok, err := m.store.NextDue()
		if err != nil {
			return halt("read due index", err)
		}
		if !ok || d.At > m.head.StreamTime {
			return nil
		}
		// The Store's bytes are valid until the next write only.
		m.ids = append(append(m.ids[:0], account...), user...)
		if err := m.fire(d, m.ids[:len(account)], m.ids[len(account):]); err != nil {
			return err
		}
	}
}

// fire carries out one delayed redirect. What its user does not know must not be in the due index
// (a deletion cancels): then the state is wrong, and going on would spread it.
func (m *Machine) fire(d Due, account, user []byte) error {
	u, err := m.store.User(account, user)
	if err != nil {
		return halt("read user", err)
	}
	if u == nil {
		return haltf("redirect %d-%d is due for a user who does not exist", d.Seq, d.Index)
	}
	if len(u.Pending) == 0 || u.Pending[0].Due != d {
		return haltf("redirect %d-%d is due and is not the first that its user waits for", d.Seq, d.Index)
	}
	m.fx.reset()
	judgeFire(u, m.head.StreamTime, &m.fx)
	m.store.DeleteDue(d)
	m.head.Pending--
	m.putUser(account, user, u)
	m.putLate(account, user, m.fx.outcome)
	m.emitAll(account, user)
	m.result.Redirected++
	m.result.Fired++
	return nil
}

// judgeFire is the second half of a trigger: the first of the user's waiting redirects. The due index and the user
// hold them in the same order, so the one that is due is the first.
func judgeFire(u *User, now Millis, fx *effects) {
	p := &u.Pending[0]
	next := u.next(now)
	next.dropFirstPending()
	next.moveTo(p.Module, p.Bot)
	next.remember(Change{ID: p.Due.Position, At: now, ModuleBefore: u.module(), ModuleAfter: p.Module})
	fx.outcome = Outcome{Position: p.Due.Position, Kind: record.Trigger, Status: Redirected,
		AcceptedAt: p.AcceptedAt, AppliedAt: now}
	fx.change(next)
	fx.trace = append(fx.trace, p.Trace...)
	e := fx.emit(EventRedirected, p.Due.Position, now)
	e.Second, e.Trace = true, fx.trace
	e.Bot, e.Version = next.Bot, next.Version
	e.ModuleBefore, e.ModuleAfter = u.module(), next.module()
}
