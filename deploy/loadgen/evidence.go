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
}

// accepted is every accepted trigger of a ledger: by user, in order, each once, with the id that it was accepted under first.
type accepted map[int][]entry

// readAll goes through the ledger once more. It needs memory by trigger, where the audit of the state needs it by user.
func readAll(name string) (accepted, error) {
	all := accepted{}
	_, err := readLedger(name, func(user int, number uint64, id record.ID) {
		list := all[user]
		switch n := len(list); {
		case n == 0 || list[n-1].number < number:
			all[user] = append(list, entry{user, number, id})
		case list[n-1].number == number && id.Position.Compare(list[n-1].id.Position) < 0:
			list[n-1].id = id
		}
	})
	return all, err
}

// askAll asks what became of each accepted trigger: the versions that they made of their users must follow each other.
func (v *Verdict) askAll(ctx context.Context, a *auditor, log accepted) error {
	return each(ctx, len(a.users), func(ctx context.Context, user int) error {
		version := a.users[user].registered
		for _, e := range log[user] {
			f, err := a.api.settled(ctx, e.id.String())
			switch {
			case notFound(err):
				a.fail(user, broken(Durable, "%s was accepted, and nothing is known of it", e.id))
				return nil
			case err != nil:
				return err
			case f.expired:
				a.add(func(*findings) { v.Expired++ })
				version = 0
				continue
			case f.Status == "duplicate" || f.Status == "rejected": // of an attempt without an answer; the state says whether that is right
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

// promiseOf is what a version other than the expected one breaks: a later one has something in between.
func promiseOf(got, want uint64) Promise {
	if got > want {
		return Once
	}
	return Ordered
}
