package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/shared/tracing"
)

// handler answers a request, or returns why not.
type handler func(c echo.Context) error

// batchPath is that of many triggers in one request, with and without a final slash.
const batchPath = "/actionsvc/trigger-response/batch"

func (a *API) addRoutes() {
	a.add(http.MethodPost, "/actionsvc/trigger-response", a.triggers(a.postTrigger))
	a.add(http.MethodPost, "/actionsvc/trigger-response/", a.triggers(a.postTrigger))
	a.add(http.MethodPost, batchPath, a.triggers(a.postBatch))
	a.add(http.MethodPost, batchPath+"/", a.triggers(a.postBatch))
	a.add(http.MethodPut, "/v1/bots/:bot_id/modules", a.putModules)
	a.add(http.MethodGet, "/v1/bots/:bot_id/modules", a.getModules)
	a.add(http.MethodPost, "/v1/users", a.importUsers)
	a.add(http.MethodPut, "/v1/users/:user_id", a.putUser)
	a.add(http.MethodGet, "/v1/users/:user_id", a.getUser)
	a.add(http.MethodDelete, "/v1/users/:user_id", a.deleteUser)
	a.add(http.MethodGet, "/v1/triggers/:trigger_id", a.getTrigger)
	a.add(http.MethodGet, "/v1/deadletters", a.getDeadLetters)
	a.add(http.MethodGet, "/openapi.json", a.getDocument)
	a.add(http.MethodGet, "/healthz", a.getHealth)
	a.addOptions()
	a.echo.HTTPErrorHandler = a.routingFailed
}

// add registers a handler. Everything that is the same for all of them happens around it.
func (a *API) add(method, path string, h handler) {
	route := a.metrics.route(path)
	a.routes[path] = append(a.routes[path], method)
	a.echo.Add(method, path, func(c echo.Context) error {
		a.serve(c, route, h)
		return nil
	})
}

func (a *API) serve(c echo.Context, route *routeMetrics, h handler) {
	start := time.Now()
	own, caller := a.trace(c)
	defer func() {
		if p := recover(); p != nil {
			a.panicked(c, p)
		}
		route.observe(c.Response().Status, time.Since(start))
		if a.deps.Tracer.Keeps(own) {
			a.exportRequest(c, own, caller, start)
		}
	}()
	if err := h(c); err != nil {
		a.answer(c, err)
	}
}

// answer sends a failure.
func (a *API) answer(c echo.Context, err error) {
	if c.Response().Committed {
		return
	}
	f := asFailure(err)
	if status := f.write(c.Response(), c.Request().URL.Path); status >= http.StatusInternalServerError {
		a.log.report(f, c.Path(), traceOf(c))
	}
}

// panicked keeps one bad request from taking the process with it.
func (a *API) panicked(c echo.Context, p any) {
	a.logPanic(c.Path(), p, traceOf(c))
	a.answer(c, fail(internal))
}

func (a *API) logPanic(route string, p any, trace tracing.Context) {
	a.deps.Logger.Error("request panicked", trace.Attrs("route", route, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))...)
}

// addOptions answers OPTIONS on every path.
func (a *API) addOptions() {
	for path := range a.routes {
		a.echo.Add(http.MethodOptions, path, func(c echo.Context) error {
			c.Response().Header().Set("Allow", a.allow(path))
			return c.NoContent(http.StatusNoContent)
		})
	}
}

// allow lists the methods of a path.
func (a *API) allow(path string) string {
	methods := append(slices.Clone(a.routes[path]), http.MethodOptions)
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// routingFailed answers what no route takes.
func (a *API) routingFailed(err error, c echo.Context) {
	a.trace(c)
	f := fail(notFound)
	if errors.Is(err, echo.ErrMethodNotAllowed) {
		f = fail(methodNotAllowed)
		c.Response().Header().Set("Allow", a.allow(c.Path()))
	}
	a.metrics.unrouted(f.write(c.Response(), c.Request().URL.Path))
}

// authorize says who calls. On the published surface everything that is wrong with a token is one failure.
func (a *API) authorize(c echo.Context, wanted auth.Scopes) (auth.Identity, error) {
	authorization := "" // of two none counts
	if values := c.Request().Header["Authorization"]; len(values) == 1 {
		authorization = values[0]
	}
	id, err := a.deps.Gate.Verify(authorization)
	if err != nil {
		return id, &failure{code: invalidToken, cause: err}
	}
	if !id.Scopes.Has(wanted) {
		if onV1(c.Request().URL.Path) {
			return id, fail(forbidden)
		}
		return id, fail(invalidToken)
	}
	return id, nil
}

// param is a segment of the path, decoded once. The router matches the path as it was sent whenever an encoded
// slash or the like is in it, and as decoded otherwise.
func param(c echo.Context, name string) (string, bool) {
	value := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return value, validID([]byte(value))
	}
	value, err := url.PathUnescape(value)
	return value, err == nil && validID([]byte(value))
}

// getHealth is for load balancers: whoever drains wants no more.
func (a *API) getHealth(c echo.Context) error {
	if a.draining.Load() {
		return c.Blob(http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("draining\n"))
	}
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}
