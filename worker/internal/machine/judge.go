package machine

import (
	"math"

	"github.com/triggerd/triggerd/shared/record"
)

// Version is the newest judgement that this code knows (record.Limits.Machine).
const Version = 1

// judgement decides what a record does. It is pure: it reads in and fills in fx.
type judgement func(in *input, fx *effects)

// judgementOf is the judgement of a machine version.
func judgementOf(version int) (judgement, bool) {
	switch version {
	case 1:
		return judge1, true
	default:
		return nil, false
	}
}

// input is all that a judgement may depend on.
type input struct {
	known      Key // the newest trigger that came with the record's key
	key        keyState
	rec        *record.Record
	pos        record.Position
	user       *User  // nil: not known
	now        Millis // stream time
	acceptedAt Millis // server's timestamp of the message
	limits     record.Limits
}

// judge1 is version 1.
func judge1(in *input, fx *effects) {
	switch in.rec.Kind {
	case record.Trigger:
		judgeTrigger(in, fx)
	case record.Register:
		judgeRegister(in, fx)
	case record.Delete:
		judgeDelete(in, fx)
	}
}

// judgeTrigger overwrites variables first; then it moves the conversation, at once or later.
func judgeTrigger(in *input, fx *effects) {
	if judgeKey(in, fx) {
		return
	}
	if in.user == nil {
		fx.reject(in, ReasonUnknownUser)
		return
	}
	next := in.user.next(in.now)
	names, ok := next.mergeWithin(in, fx)
	if !ok {
		fx.reject(in, ReasonTooMuchState)
		return
	}
	redirect := in.rec.Redirect && in.rec.HasModule
	later := redirect && in.rec.Wait > 0
	switch {
	case later && len(next.Pending) >= in.limits.MaxPending:
		fx.reject(in, ReasonTooManyPending)
		return
	case later:
		fx.scheduleRedirect(in, next)
	case redirect:
		next.moveTo(in.rec.Module, fx.texts.text(in.rec.Bot))
		fx.finish(in, Redirected)
	default:
		fx.finish(in, Applied)
	}
	next.remember(changeOf(in, next, names))
	fx.change(next)
	fx.emitTrigger(in, next)
}

// scheduleRedirect lets the redirect wait in the user and in the due index.
func (fx *effects) scheduleRedirect(in *input, next *User) {
	fx.schedule, fx.due = true, Due{At: after(in.now, in.rec.Wait), Position: in.pos}
	next.addPending(Pending{
		Due: fx.due, Module: in.rec.Module, Bot: fx.texts.text(in.rec.Bot),
		AcceptedAt: in.acceptedAt, Trace: string(in.rec.Trace),
	})
	fx.finish(in, Scheduled)
}

// after is t + wait, held at the end of time.
func after(t, wait Millis) Millis {
	if wait > math.MaxInt64-t {
		return math.MaxInt64
	}
	return t + wait
}

// emitTrigger tells what the trigger changed at once.
func (fx *effects) emitTrigger(in *input, next *User) {
	kind := EventUpdated
	if fx.outcome.Status == Redirected {
		kind = EventRedirected
	}
	e := fx.emit(kind, in.pos, in.now)
	e.Bot, e.ModuleBefore, e.ModuleAfter = next.Bot, in.user.module(), next.module()
	e.Vars, e.Version, e.Trace = in.rec.Vars, next.Version, in.rec.Trace
}

// judgeRegister opens a conversation or updates one.
func judgeRegister(in *input, fx *effects) {
	before := in.user
	if before == nil {
		before = &User{}
	}
	next := before.next(in.now)
	names, ok := next.mergeWithin(in, fx)
	if !ok {
		fx.reject(in, ReasonTooMuchState)
		return
	}
	next.setBot(fx.texts.text(in.rec.Bot))
	if in.rec.HasModule {
		next.Module, next.HasModule = in.rec.Module, true
	}
	next.remember(changeOf(in, next, names))
	fx.change(next)
	fx.finish(in, Applied)
}

// judgeDelete forgets the user; what it still had to do is cancelled, and said to be.
func judgeDelete(in *input, fx *effects) {
	if in.user == nil {
		fx.reject(in, ReasonUnknownUser)
		return
	}
	fx.changed, fx.next = true, nil
	fx.outcome.UserVersion = in.user.Version
	fx.finish(in, Applied)
	fx.cancelled = in.user.Pending
	for i := range in.user.Pending {
		p := &in.user.Pending[i]
		e := fx.emit(EventRejected, p.Due.Position, in.now)
		e.Second, e.Reason = true, ReasonUserDeleted
		e.describe(in.user)
		e.Trace = []byte(p.Trace)
	}
}

// mergeWithin merges the record's variables unless the user grows beyond the limit. Somebody who
// is above it already (it was lowered) may still shrink, or be moved.
func (u *User) mergeWithin(in *input, fx *effects) (names []string, ok bool) {
	var set []record.Var
	set, fx.sorted = sortVars(in.rec.Vars, fx.sorted)
	p := u.planMerge(set)
	if p.bytes > max(u.VarBytes, in.limits.MaxUserBytes) {
		return nil, false
	}
	return u.merge(p, &fx.texts), true
}

// changeOf is the entry of the record in the user's list of changes.
func changeOf(in *input, next *User, names []string) Change {
	c := Change{ID: in.pos, At: in.now, ModuleAfter: next.module(), Variables: names}
	if in.user != nil {
		c.ModuleBefore = in.user.module()
	}
	return c
}

// finish says what became of the record.
func (fx *effects) finish(in *input, s Status) {
	fx.outcome.Position, fx.outcome.Kind, fx.outcome.Status = in.pos, in.rec.Kind, s
	fx.outcome.AcceptedAt, fx.outcome.AppliedAt = in.acceptedAt, in.now
}

// reject says why nothing became of the record; a trigger's end is an event as well.
func (fx *effects) reject(in *input, reason string) {
	fx.finish(in, Rejected)
	fx.outcome.Reason = reason
	if in.user != nil {
		fx.outcome.UserVersion = in.user.Version
	}
	if in.rec.Kind != record.Trigger {
		return
	}
	e := fx.emit(EventRejected, in.pos, in.now)
	e.Reason, e.Trace = reason, in.rec.Trace
	e.describe(in.user)
}

// describe shows a user that did not change.
func (e *Event) describe(u *User) {
	if u == nil {
		return
	}
	e.Bot, e.Version = u.Bot, u.Version
	e.ModuleBefore, e.ModuleAfter = u.module(), u.module()
}
