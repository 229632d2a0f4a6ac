package httpapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/tracing"
)

// trace finds the trace that the caller's request belongs to, and says so in the answer, whatever that will be. Malformed ones and several are
// none. Where spans are exported it may begin one, and the request is then a span of its own; the answer has that one's id, otherwise the caller's, and so
// have the records and the events.
func (a *API) trace(c echo.Context) (own, caller tracing.Context) {
	if values := c.Request().Header[tracing.Header]; len(values) == 1 {
		caller, _ = tracing.Parse(values[0])
	}
	switch own = caller; {
	case a.deps.Tracer.Keeps(caller):
		own = caller.Child()
	case !caller.Valid() && a.deps.Tracer != nil && rand.Float64() < a.cfg.TraceSample:
		own = tracing.New()
	}
	if own.Valid() {
		c.Response().Header()[tracing.ResponseHeader] = []string{own.String()}
	}
	return own, caller
}

// traceOf is the trace of a request that is being served, as its answer has it: so it is kept without memory of its own where there is none.
func traceOf(c echo.Context) tracing.Context {
	values := c.Response().Header()[tracing.ResponseHeader]
	if len(values) == 0 {
		return tracing.Context{}
	}
	t, _ := tracing.Parse(values[0])
	return t
}

// exportRequest exports the span of a request that was answered.
func (a *API) exportRequest(c echo.Context, own, caller tracing.Context, begun time.Time) {
	method, route, status := c.Request().Method, c.Path(), c.Response().Status
	span := tracing.Span{Context: own, Parent: caller, Name: method + " " + route, Kind: tracing.Server, Begun: begun, Ended: time.Now(), Attrs: []tracing.Attr{
		tracing.Text("http.request.method", method), tracing.Text("http.route", route), tracing.Int("http.response.status_code", status),
		tracing.Text("url.scheme", "http"),
	}}
	if status >= http.StatusInternalServerError {
		span.Failed = http.StatusText(status)
		span.Attrs = append(span.Attrs, tracing.Text("error.type", strconv.Itoa(status)))
	}
	a.deps.Tracer.Add(span)
}

// appending is the span of one record on its way into the log. The zero value is none.
type appending struct {
	own, request tracing.Context
	begun        time.Time
}

// beginAppend makes a span of rec's way, if the request's are kept. The record carries it then, and ctx to whoever packs batches.
func (a *API) beginAppend(ctx context.Context, s *scratch, rec *record.Record) (appending, context.Context) {
	if a.deps.Tracer == nil || len(rec.Trace) == 0 {
		return appending{}, ctx
	}
	request, _ := tracing.Parse(rec.Trace)
	if !a.deps.Tracer.Keeps(request) {
		return appending{}, ctx
	}
	own := request.Child()
	s.trace = own.AppendTo(s.trace[:0])
	rec.Trace = s.trace
	return appending{own, request, time.Now()}, tracing.With(ctx, own)
}

func (a *API) endAppend(span appending, id record.ID, err error) {
	if !span.own.Valid() {
		return
	}
	attrs := tracing.Messaging("triggers", strconv.Itoa(id.Partition), "append", "create")
	failed := ""
	if err == nil {
		attrs = append(attrs, tracing.Text("triggerd.record.id", id.String()))
	} else {
		failed = codes[appendFailure(err).code].word
		attrs = append(attrs, tracing.Text("error.type", failed))
	}
	a.deps.Tracer.Add(tracing.Span{Context: span.own, Parent: span.request, Name: "append triggers.{partition}", Kind: tracing.Producer,
		Begun: span.begun, Ended: time.Now(), Failed: failed, Attrs: attrs})
}
