// Package admission answers, before a record is appended, whether its user is known: from a bounded cache, or by asking the
// partition's owner, many callers in one request. It never makes accepting depend on a worker.
package admission

import "context"

// Verdict is what is known of a user.
type Verdict uint8

const (
	Known      Verdict = iota + 1
	Unknown            // final: the owner has applied everything that was in the log when asked
	Unverified         // nobody answered in time; accept, the machine judges
)

// Admission is safe for concurrent use.
type Admission struct{}

// User never takes longer than Config.Timeout (100 ms).
func (a *Admission) User(ctx context.Context, p int, account, user string) Verdict { panic("skeleton") }

// Learn tells the cache that the user exists (a PUT was applied); Forget that it was deleted here.
func (a *Admission) Learn(account, user string)  { panic("skeleton") }
func (a *Admission) Forget(account, user string) { panic("skeleton") }
