package loadgen

import (
	"context"

	"github.com/triggerd/triggerd/shared/record"
)

// entry is an accepted trigger of a ledger.
type entry struct {
	user   int
	number uint64
	id     record.ID
	sure   bool // no other attempt may have been stored before it
}

// accepted is every accepted trigger of a ledger: by user, in order, each once, with the id that it was accepted under first.
type accepted map[int][]entry

// readAll goes through the ledger once more. It needs memory by trigger, where the audit of the state needs it by user.
func readAll(name string) (accepted, error) {
	all := accepted{}
	_, err := readLedger(name, func(e entry) {
		list := all[e.user]
		n := len(list)
		if n == 0 || list[n-1].number < e.number {
			all[e.user] = append(list, e)
			return
		}
		last := &list[n-1] // two at once
		if e.id.Position.Compare(last.id.Position) < 0 {
			last.id = e.id
		}
		last.sure = e.sure
	})
	return all, err
}

// askAll asks what became of each accepted trigger: the versions that they made of their users must follow each other.
func (v *Verdict) askAll(ctx context.Context, a *auditor, log accepted) error {
	return each(ctx, len(a.users), func(ctx context.Context, user int) error {
		version, before := a.users[user].registered, record.Position{}
		for _, e := range log[user] {
			f, err := a.applied(ctx, &e, before)
			switch before = e.id.Position; {
			case notFound(err):
				a.fail(user, broken(Durable, "%s was accepted, and nothing is known of it", e.id))
				return nil
			case err != nil:
				return err
			case f.expired:
				a.add(func(*findings) { v.Expired++ })
				version = 0
				continue
			case f.Status == "duplicate":
				a.fail(user, broken(Durable, "%s was accepted first, and is called a duplicate of %s", e.id, f.DuplicateOf))
				return nil
			case f.Status == "rejected": // the state says whether that is right
				continue
			case version > 0 && f.UserVersion != version+1:
				a.fail(user, broken(promiseOf(f.UserVersion, version+1), "%s made version %d of its user, not %d", e.id, f.UserVersion, version+1))
			}
			version = f.UserVersion
			a.add(func(*findings) { v.Outcomes++ })
		}
		return nil
	})
}

// applied is what became of a trigger: of the attempt before it that had no answer, if it is a duplicate of that.
func (a *auditor) applied(ctx context.Context, e *entry, before record.Position) (fate, error) {
	f, err := a.api.settled(ctx, e.id.String())
	if err != nil || f.Status != "duplicate" || e.sure {
		return f, err
	}
	first, err := record.ParseID(f.DuplicateOf)
	if err != nil || !e.between(before, first) {
		return f, nil
	}
	return a.api.settled(ctx, f.DuplicateOf)
}

// between says whether id is one that an attempt without an answer may have: after the user's trigger before, and before the attempt that was answered.
func (e *entry) between(before record.Position, id record.ID) bool {
	return id.Partition == e.id.Partition && before.Compare(id.Position) < 0 && id.Position.Compare(e.id.Position) < 0
}

// promiseOf is what a version other than the expected one breaks: a later one has something in between.
func promiseOf(got, want uint64) Promise {
	if got > want {
		return Once
	}
	return Ordered
}
