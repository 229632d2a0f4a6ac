package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
)

// postTrigger is the published Trigger Response call.
func (a *API) postTrigger(c echo.Context) error {
	e, err := a.admit(c)
	if err != nil {
		return err
	}
	defer e.leave()
	r, s := c.Request(), a.scratch.get()
	defer a.scratch.put(s)
	if s.body, err = a.readBody(r, s.body, a.cfg.MaxBody, &e.body); err != nil {
		return err
	}
	req, err := s.decoder.trigger(s.body, !a.cfg.OptionalModuleID)
	if err != nil {
		return err
	}
	id, err := a.submit(r.Context(), s, e.account, req, traceparent(r))
	if err != nil {
		return err
	}
	s.out = appendAccepted(append(s.out[:0], '{'), id, req.redirects())
	return writeJSON(c, http.StatusOK, s.out)
}

// redirects reports whether the conversation is to move: is_async decides, whatever the Module.
func (r *request) redirects() bool { return r.async && r.hasModule }

// submit makes a decoded trigger durable: it checks user and Module, in this order, and appends.
func (a *API) submit(ctx context.Context, s *scratch, account string, req *request, trace string) (record.ID, error) {
	user := string(req.user)
	p := broker.Partition(account, user, a.cfg.Partitions)
	verdict := a.deps.Users.User(ctx, p, account, user)
	if verdict == admission.Unknown {
		return record.ID{}, fail(unknownUser)
	}
	bot, err := a.botOf(ctx, account, req)
	if err != nil {
		return record.ID{}, err
	}
	s.account = append(s.account[:0], account...)
	rec := record.Record{Kind: record.Trigger, Account: s.account, User: req.user, Vars: req.vars}
	if req.redirects() {
		rec.Redirect, rec.Module, rec.HasModule, rec.Bot = true, req.module, true, []byte(bot)
		rec.Wait = a.wait(req)
	}
	rec.Trace = []byte(trace)
	id, err := a.append(ctx, s, p, account, &rec, atOnce)
	if err == nil {
		a.metrics.accept(verdict)
	}
	return id, err
}

// wait is how long the redirect waits, in milliseconds.
func (a *API) wait(req *request) int64 {
	if req.seen&fWait != 0 {
		return req.wait
	}
	return a.cfg.DefaultWait.Milliseconds()
}

// botOf finds the bot that has the request's Module, which is checked even if nothing moves there. It is "" without one.
func (a *API) botOf(ctx context.Context, account string, req *request) (string, error) {
	if !req.hasModule {
		return "", nil
	}
	bot, ok, err := a.deps.Directory.Bot(ctx, account, req.module)
	switch {
	case err != nil:
		return "", &failure{code: unavailable, cause: err}
	case !ok:
		return "", fail(unknownModule)
	}
	return bot, nil
}

// urgency says whether somebody waits for this one record, or for many.
type urgency bool

const (
	atOnce urgency = false
	inBulk urgency = true
)

// append makes rec durable in partition p.
func (a *API) append(ctx context.Context, s *scratch, p int, account string, rec *record.Record, u urgency) (id record.ID, err error) {
	id.Partition, s.line = p, rec.AppendTo(s.line[:0])
	if u == inBulk {
		id.Position, err = a.deps.Appender.AppendBulk(ctx, p, account, s.line)
	} else {
		id.Position, err = a.deps.Appender.Append(ctx, p, account, s.line)
	}
	if err != nil {
		return record.ID{}, appendFailure(err)
	}
	return id, nil
}

// appendFailure says what the caller of a failed append may believe.
func appendFailure(err error) *failure {
	var unknown *appender.UnknownError
	switch {
	case errors.As(err, &unknown):
		return &failure{code: unknownOutcome, receipt: unknown.Receipt.String(), cause: err}
	case errors.Is(err, appender.ErrUnavailable):
		return &failure{code: unavailable, cause: err}
	case errors.Is(err, appender.ErrTooLarge):
		return fail(bodyTooLarge)
	}
	return &failure{code: internal, cause: err}
}

// appendAccepted renders the published answer but for its opening brace. The bytes are a promise: clients in the field compare message with "1".
func appendAccepted(b []byte, id record.ID, redirect bool) []byte {
	b = append(b, `"message":"1","error":[],"trigger_id":"`...)
	b = id.AppendTo(b)
	if redirect {
		return append(b, `","redirect":true}`...)
	}
	return append(b, `","redirect":false}`...)
}

// jsonType is shared by all answers; nobody writes to it.
var jsonType = []string{"application/json"}

func writeJSON(c echo.Context, status int, body []byte) error {
	w := c.Response()
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	w.Write(body) // a client that is gone needs no answer
	return nil
}
