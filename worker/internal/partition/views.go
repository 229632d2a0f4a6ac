package partition

import (
	"encoding/json"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/worker/internal/machine"
)

// ViewUser shows a user as statequery does. The result aliases the user's variables.
func ViewUser(p int, u *machine.User) *statequery.UserState {
	s := &statequery.UserState{BotID: u.Bot, Vars: make(map[string]json.RawMessage, len(u.Vars)), Version: u.Version, UpdatedAt: u.UpdatedAt,
		Pending: make([]statequery.Pending, 0, len(u.Pending)), Changes: make([]statequery.Change, 0, len(u.Changes))}
	if u.HasModule {
		s.ModuleID = &u.Module
	}
	for _, v := range u.Vars {
		s.Vars[v.Name] = v.Value
	}
	for _, d := range u.Pending {
		s.Pending = append(s.Pending, statequery.Pending{TriggerID: id(p, d.Due.Position), ModuleID: d.Module, DueAt: d.Due.At})
	}
	for _, c := range u.Changes {
		s.Changes = append(s.Changes, statequery.Change{TriggerID: id(p, c.ID), At: c.At, Variables: c.Variables,
			ModuleBefore: module(c.ModuleBefore), ModuleAfter: module(c.ModuleAfter)})
	}
	return s
}

// ViewOutcome shows an outcome as statequery does.
func ViewOutcome(p int, o machine.Outcome) *statequery.Outcome {
	out := &statequery.Outcome{TriggerID: id(p, o.Position), UserID: o.User, Kind: o.Kind.String(), Status: o.Status.String(), Reason: o.Reason,
		AcceptedAt: o.AcceptedAt, AppliedAt: o.AppliedAt, UserVersion: o.UserVersion}
	if o.Status == machine.Duplicate && o.DuplicateOf.Seq != 0 {
		out.DuplicateOf = id(p, o.DuplicateOf)
	}
	return out
}

func viewDeadLetter(p int, l machine.DeadLetter) statequery.DeadLetter {
	return statequery.DeadLetter{ID: id(p, l.Position), Whole: l.Whole, Account: l.Account, Reason: l.Reason, At: l.At, Size: len(l.Data)}
}

func id(p int, pos record.Position) string { return record.ID{Partition: p, Position: pos}.String() }

// module is nil for 0, which stands for none.
func module(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}
