package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/tracing"
)

// postTrigger is the published Trigger Response call.
func (a *API) postTrigger(c echo.Context, e *entry) (err error) {
	r, s := c.Request(), a.scratch.get()
	defer a.scratch.put(s)
	if s.body, err = a.readBody(r, s.body, a.cfg.MaxBody, &e.body); err != nil {
		return err
	}
	if err := e.await(r.Context(), len(s.body)); err != nil {
		return err
	}
	req, err := s.decoder.trigger(s.body, !a.cfg.OptionalModuleID)
	if err != nil {
		return err
	}
	if req.key, err = keyOf(r.Header); err != nil {
		return err
	}
	done, err := a.submit(r.Context(), s, e.account, req, traceOf(c))
	if err != nil {
		return err
	}
	if done.replayed {
		c.Response().Header().Set(replayedHeader, "true")
	}
	a.metrics.take(e.class, done)
	s.out = append(done.appendTo(append(s.out[:0], '{')), '}')
	return writeJSON(c, http.StatusOK, s.out)
}

// redirects reports whether the conversation is to move: is_async decides, whatever the Module.
func (r *request) redirects() bool { return r.async && r.hasModule }

// accepted is what became of a trigger that is safe.
type accepted struct {
	id       record.ID
	redirect bool // asked for
	replayed bool // it was safe before, under its idempotency key
}

// submit makes a decoded trigger durable: it checks key, user and Module, in this order, and appends.
func (a *API) submit(ctx context.Context, s *scratch, account string, req *request, trace tracing.Context) (done accepted, err error) {
	user := string(req.user)
	p := broker.Partition(account, user, a.cfg.Partitions)
	done.redirect = req.redirects()
	s.trace = trace.AppendTo(s.trace[:0])
	rec := record.Record{Kind: record.Trigger, User: req.user, Vars: req.vars, Trace: s.trace}
	var verdict admission.Verdict
	if req.key == nil {
		verdict = a.deps.Users.User(ctx, p, account, user)
	} else {
		print, prior := s.printer.print(req), admission.Prior{}
		verdict, prior = a.deps.Users.Keyed(ctx, p, account, user, string(req.key))
		if done.id, done.replayed, err = a.replay(print, prior); err != nil || done.replayed {
			return done, err
		}
		rec.Key, rec.Print = req.key, []byte(print)
	}
	if verdict == admission.Unknown {
		return done, fail(unknownUser)
	}
	bot, err := a.botOf(ctx, account, req)
	if err != nil {
		return done, err
	}
	s.account = append(s.account[:0], account...)
	rec.Account = s.account
	if done.redirect {
		rec.Redirect, rec.Module, rec.HasModule, rec.Bot = true, req.module, true, []byte(bot)
		rec.Wait = a.wait(req)
	}
	if done.id, err = a.append(ctx, s, p, account, &rec, atOnce); err == nil {
		a.metrics.accept(verdict)
	}
	return done, err
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
	span, ctx := a.beginAppend(ctx, s, rec)
	begun := time.Now()
	id.Partition, s.line = p, rec.AppendTo(s.line[:0])
	if u == inBulk {
		id.Position, err = a.deps.Appender.AppendBulk(ctx, p, account, s.line)
	} else {
		id.Position, err = a.deps.Appender.Append(ctx, p, account, s.line)
	}
	a.endAppend(span, id, err)
	if err != nil {
		return record.ID{}, appendFailure(err)
	}
	if a.turns != nil && u == atOnce {
		a.turns.logTook(time.Since(begun))
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

// appendTo renders the published answer but for its braces. The bytes are a promise: clients in the field compare message with "1".
func (d *accepted) appendTo(b []byte) []byte {
	b = append(b, `"message":"1","error":[],"trigger_id":"`...)
	b = d.id.AppendTo(b)
	return strconv.AppendBool(append(b, `","redirect":`...), d.redirect)
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
