package httpapi

import (
	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
)

// Limiter counts the triggers of accounts: ratelimit.Limiter.
type Limiter interface {
	Take(account string, n int) ratelimit.Grant
}

// entry is a request for triggers that was let in. Whoever has one calls leave.
type entry struct {
	api     *API
	account string
	body    loan
}

// admit lets a request for triggers in: the token, the account's rate, a place among those in hand, the media type, in this order. Nothing else of a request is
// looked at before. It counts as one trigger; how many a batch has nobody knows yet.
func (a *API) admit(c echo.Context) (entry, error) {
	who, err := a.authorize(c, auth.ScopeTrigger)
	if err != nil {
		return entry{}, err
	}
	if taken, err := a.count(c, who.Account, 1); taken == 0 {
		return entry{}, err
	}
	if !a.places.take(who.Account, 1) {
		return entry{}, a.overloaded(limitRequests, errRequests)
	}
	e := entry{api: a, account: who.Account, body: loan{of: a.bodies, account: who.Account}}
	if err := checkMedia(c.Request(), "application/json"); err != nil {
		e.leave()
		return entry{}, err
	}
	return e, nil
}

func (e *entry) leave() {
	e.body.end()
	e.api.places.giveBack(e.account, 1)
}

// count counts n triggers against the account's rate, and says in the headers of the answer what is left of it. It returns how many of them may be taken; err is the
// answer if that is none.
func (a *API) count(c echo.Context, account string, n int) (taken int, err error) {
	if a.deps.Limiter == nil || n == 0 {
		return n, nil
	}
	grant := a.deps.Limiter.Take(account, n)
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
