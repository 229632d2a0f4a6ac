package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/shared/tracing"
)

// operators are the scopes of most of /v1.
const operators = auth.ScopeRuntime | auth.ScopeAdmin

// operatorOn authorizes a call about what the path names: a user or a bot. bad is the failure of a name that can be nobody's.
func (a *API) operatorOn(c echo.Context, name string, bad *failure) (who auth.Identity, value string, err error) {
	if who, err = a.authorize(c, operators); err != nil {
		return who, "", err
	}
	value, ok := param(c, name)
	if !ok {
		return who, "", bad
	}
	return who, value, nil
}

// putUser opens or updates a conversation and answers once that can be read.
func (a *API) putUser(c echo.Context) error {
	who, user, err := a.operatorOn(c, "user_id", badUser)
	if err != nil {
		return err
	}
	if err := checkMedia(c.Request(), "application/json"); err != nil {
		return err
	}
	s := a.scratch.get()
	defer a.scratch.put(s)
	l := loan{of: a.bodies, account: who.Account}
	defer l.end()
	if s.body, err = a.readBody(c.Request(), s.body, a.cfg.MaxBody, &l); err != nil {
		return err
	}
	req, err := s.decoder.user(s.body)
	if err != nil {
		return err
	}
	req.user = []byte(user)
	id, err := a.register(c.Request().Context(), s, who.Account, req, traceOf(c), atOnce)
	if err != nil {
		return err
	}
	out, err := a.untilApplied(c, who.Account, user, id)
	if err != nil {
		return err
	}
	if out.Final() {
		a.deps.Users.Learn(who.Account, user)
	}
	return writeApplied(c, out, http.StatusOK)
}

// register makes a conversation durable.
func (a *API) register(ctx context.Context, s *scratch, account string, req *request, trace tracing.Context, u urgency) (record.ID, error) {
	bot, err := a.botFor(ctx, account, req)
	if err != nil {
		return record.ID{}, err
	}
	s.account, s.trace = append(s.account[:0], account...), trace.AppendTo(s.trace[:0])
	return a.append(ctx, s, broker.Partition(account, string(req.user), a.cfg.Partitions), account, &record.Record{
		Kind: record.Register, Account: s.account, User: req.user, Bot: bot,
		Module: req.module, HasModule: req.hasModule, Vars: req.vars, Trace: s.trace,
	}, u)
}

// botFor is the bot of a conversation: the Module's if there is one, which must then not be another than the one that was named.
func (a *API) botFor(ctx context.Context, account string, req *request) ([]byte, error) {
	if !req.hasModule {
		return req.bot, nil
	}
	bot, err := a.botOf(ctx, account, req)
	if err == nil && len(req.bot) > 0 && string(req.bot) != bot {
		err = &failure{code: invalidField, text: "module_id is not one of the bot that bot_id names"}
	}
	return []byte(bot), err
}

// deleteUser forgets a user and answers once that is done.
func (a *API) deleteUser(c echo.Context) error {
	who, user, err := a.operatorOn(c, "user_id", badUser)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	p := broker.Partition(who.Account, user, a.cfg.Partitions)
	if a.deps.Users.User(ctx, p, who.Account, user) == admission.Unknown {
		return fail(unknownUser)
	}
	s := a.scratch.get()
	defer a.scratch.put(s)
	id, err := a.append(ctx, s, p, who.Account, &record.Record{
		Kind: record.Delete, Account: []byte(who.Account), User: []byte(user), Trace: traceOf(c).AppendTo(nil),
	}, atOnce)
	if err != nil {
		return err
	}
	out, err := a.untilApplied(c, who.Account, user, id)
	a.deps.Users.Forget(who.Account, user)
	if err != nil {
		return err
	}
	return writeApplied(c, out, http.StatusNoContent)
}

// untilApplied waits for a record's outcome, for Config.ApplyTimeout at most. A rejection is an error; what is not
// known in time is an outcome that says accepted.
func (a *API) untilApplied(c echo.Context, account, user string, id record.ID) (*statequery.Outcome, error) {
	ctx, done := a.untilStopping(c.Request().Context())
	defer done()
	name := id.String()
	out, err := a.deps.State.Outcome(ctx, account, id.Partition, name, a.cfg.ApplyTimeout)
	if err != nil {
		return &statequery.Outcome{TriggerID: name, UserID: user, Status: statequery.StatusAccepted}, nil
	}
	if out.Status == statequery.StatusRejected {
		return nil, rejection(out.Reason)
	}
	return out, nil
}

// rejection says why the machine refused what was accepted here. The words are the machine's.
func rejection(reason string) *failure {
	switch reason {
	case "unknown_user":
		return fail(unknownUser)
	case "too_much_state":
		return &failure{code: invalidField, text: "custom_vars: the user would have more than the limit of bytes in variables"}
	}
	return &failure{code: internal, cause: errors.New("record was rejected: " + reason)}
}

// writeApplied answers with status if out is final, otherwise 202 and where to ask.
func writeApplied(c echo.Context, out *statequery.Outcome, status int) error {
	switch {
	case !out.Final():
		c.Response().Header().Set("Location", "/v1/triggers/"+out.TriggerID)
		return writeView(c, http.StatusAccepted, viewOutcome(out))
	case status == http.StatusNoContent:
		return c.NoContent(status)
	}
	return writeView(c, status, viewOutcome(out))
}

// getUser shows a user as the owner of the partition has it.
func (a *API) getUser(c echo.Context) error {
	who, user, err := a.operatorOn(c, "user_id", badUser)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), a.cfg.StateTimeout)
	defer cancel()
	reply, err := a.deps.State.Ask(ctx, broker.Partition(who.Account, user, a.cfg.Partitions), statequery.Request{
		User:       &statequery.User{Account: who.Account, User: user},
		WaitMillis: a.cfg.StateTimeout.Milliseconds() / 2, // so that "not known" is final
	})
	switch {
	case errors.Is(err, statequery.ErrNotFound), err == nil && reply.User == nil:
		return fail(unknownUser)
	case err != nil:
		return noState(err)
	}
	return writeView(c, http.StatusOK, viewUser(user, reply.User))
}

// noState answers that a partition's owner did not.
func noState(err error) *failure {
	return &failure{code: unavailable, text: "The state cannot be read at the moment; try again", cause: err}
}
