package httpapi

import (
	"context"
	"errors"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
)

// Limiter counts the triggers of accounts: ratelimit.Limiter.
type Limiter interface {
	Take(account string, n int) ratelimit.Grant
}

// entry is a request for triggers that was let in.
type entry struct {
	api     *API
	account string
	class   ratelimit.Class
	body    loan
	turns   int // taken
}

// triggers makes a handler of one that answers requests for triggers which were let in, and counts what is refused as a whole. What is not counts the other one.
func (a *API) triggers(h func(c echo.Context, e *entry) error) handler {
	return func(c echo.Context) error {
		who, err := a.authorize(c, auth.ScopeTrigger)
		if err != nil {
			return err // nobody knows whose it is
		}
		e := entry{api: a, account: who.Account, body: loan{of: a.bodies, account: who.Account}}
		if err = a.admit(c, &e); err == nil {
			defer e.leave()
			err = h(c, &e)
		}
		if err != nil {
			a.metrics.refuse(e.class, asFailure(err).code)
		}
		return err
	}
}

// admit lets a request for triggers with a good token in: the account's rate, a place among those in hand, the media type, in this order. Nothing else of a request is
// looked at before. It counts as one trigger; how many a batch has nobody knows yet. Whoever was let in calls leave.
func (a *API) admit(c echo.Context, e *entry) error {
	if taken, err := a.count(c, e, 1); taken == 0 {
		return err
	}
	if !a.places.take(e.account, 1) {
		return a.overloaded(limitRequests, errRequests)
	}
	if err := checkMedia(c.Request(), "application/json"); err != nil {
		e.leave()
		return err
	}
	return nil
}

// await takes a request whose body is in to work, when its account's turn has come. leave gives what it took back.
func (e *entry) await(ctx context.Context, body int) error {
	turns := turnsOf(body)
	if e.api.turns == nil {
		return nil
	}
	switch err := e.api.turns.take(ctx, e.account, turns); {
	case errors.Is(err, errTurn):
		return e.api.overloaded(limitTurns, err)
	case err != nil:
		return &failure{code: unavailable, cause: err} // the caller is gone
	}
	e.turns = turns
	return nil
}

func (e *entry) leave() {
	if e.turns > 0 {
		e.api.turns.giveBack(e.account, e.turns)
	}
	e.body.end()
	e.api.places.giveBack(e.account, 1)
}

// count counts n triggers against the account's rate, and says in the headers of the answer what is left of it. It returns how many of them may be taken; err is the
// answer if that is none.
func (a *API) count(c echo.Context, e *entry, n int) (taken int, err error) {
	if a.deps.Limiter == nil || n == 0 {
		return n, nil
	}
	grant := a.deps.Limiter.Take(e.account, n)
	e.class = grant.Class
	if !grant.Limited() {
		return grant.Taken, nil
	}
	h := c.Response().Header()
	h["Ratelimit-Policy"] = []string{grant.Policy()}
	h["Ratelimit"] = []string{grant.State()}
	if grant.Taken == 0 {
		return 0, &failure{code: rateLimited, retryAfter: grant.RetryAfter()}
	}
	return grant.Taken, nil
}

// admitImport lets an import in. end is to be called when it is over.
func (a *API) admitImport(account string) (end func(), err error) {
	if !a.imports.take(account, 1) {
		return nil, a.overloaded(limitImports, errImports)
	}
	return func() { a.imports.giveBack(account, 1) }, nil
}

// admitBatch takes a place for a batch whose body is in. end is to be called when it is answered.
func (a *API) admitBatch(account string) (end func(), err error) {
	if !a.batches.take(account, 1) {
		return nil, a.overloaded(limitBatches, errBatches)
	}
	return func() { a.batches.giveBack(account, 1) }, nil
}
