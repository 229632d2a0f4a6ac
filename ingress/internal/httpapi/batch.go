package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
	"github.com/triggerd/triggerd/shared/strictjson"
	"github.com/triggerd/triggerd/shared/tracing"
)

// A batch is many triggers in one request. The body is kept as it came, and its items are found in it before any of them is accepted: a
// body that is no JSON has none. Then each is decoded, checked and appended on its own, many at once, so that they share the
// messages of the log. Items of one user go one after the other.

const (
	maxBatchItems = 1000
	// maxBatchDepth bounds the search for items. What is nested deeper than an item may be harms only its item, within this.
	maxBatchDepth = 1000
)

// postBatch takes up to maxBatchItems triggers.
func (a *API) postBatch(c echo.Context, e *entry) error {
	r := c.Request()
	body, err := a.readBody(r, nil, a.cfg.MaxBatchBody, &e.body)
	if err != nil {
		return err
	}
	end, err := a.admitBatch(e.account)
	if err != nil {
		return err
	}
	defer end()
	if err := e.await(r.Context(), len(body)); err != nil {
		return err
	}
	if len(r.Header[keyHeader]) > 0 {
		return badBatchKey
	}
	items, err := batchItems(body)
	if err != nil {
		return err
	}
	b := a.newBatch(r.Context(), e.account, traceOf(c), len(items))
	b.takeAll(items, a.countItems(c, e, len(items)))
	answer := b.answer()
	b.count(e.class)
	c.Response().Header().Set("Content-Length", strconv.Itoa(len(answer))) // it is too long for the server to find out
	return writeJSON(c, http.StatusOK, answer)
}

// countItems is how many items the account's rate allows: the first ones. One is counted already, as the request, so a batch always comes on, be it larger
// than what may come at once.
func (a *API) countItems(c echo.Context, e *entry, items int) int {
	taken, _ := a.count(c, e, items-1)
	return taken + 1
}

// batchItems finds the items, which alias body.
func batchItems(body []byte) ([][]byte, error) {
	var items [][]byte
	r := strictjson.NewReader(body, maxBatchDepth)
	err := r.Open('[')
	for ok := true; err == nil && ok; {
		if ok, err = r.Element(); err != nil || !ok {
			break
		}
		var item []byte
		if item, err = r.Value(); err == nil && len(items) <= maxBatchItems {
			items = append(items, item)
		}
	}
	if err == nil {
		err = r.End()
	}
	switch {
	case err != nil:
		return nil, &failure{code: invalidJSON, text: "The body is not a valid JSON array: " + err.Error()}
	case len(items) == 0, len(items) > maxBatchItems:
		return nil, &failure{code: invalidField, text: "A batch must have 1 to " + strconv.Itoa(maxBatchItems) + " items"}
	}
	return items, nil
}

// batch is one request's items on their way.
type batch struct {
	api     *API
	ctx     context.Context
	account string
	trace   tracing.Context
	lanes   *lanes
	results []batchResult

	mu   sync.Mutex
	held map[string]bool // users of whom an item may yet be sent again: later ones must not overtake it
}

// batchResult is what became of one item.
type batchResult struct {
	accepted
	failure *failure // nil: accepted
}

func (a *API) newBatch(ctx context.Context, account string, trace tracing.Context, items int) *batch {
	lanes := newLanes(a.cfg.BatchParallel)
	lanes.few(a.turns.items(account, a.cfg.BatchParallel), a.cfg.TurnTimeout/dueAfter)
	return &batch{api: a, ctx: ctx, account: account, trace: trace, lanes: lanes,
		results: make([]batchResult, items), held: make(map[string]bool)}
}

// takeAll takes the items, those from allowed on as over the rate, and waits until each has its answer. Of one user they are the last ones, so that none
// overtakes another.
func (b *batch) takeAll(items [][]byte, allowed int) {
	for i, item := range items {
		if i >= allowed {
			b.results[i].failure = fail(rateLimited)
			continue
		}
		b.take(i, item)
	}
	b.lanes.wait()
}

// take judges item i and sends it on its way.
func (b *batch) take(i int, item []byte) {
	if int64(len(item)) > b.api.cfg.MaxBody {
		b.results[i].failure = &failure{code: bodyTooLarge, text: "The item is over the limit"}
		return
	}
	s := b.api.scratch.get()
	req, err := s.decoder.item(item, !b.api.cfg.OptionalModuleID)
	if err != nil {
		b.results[i].failure = itemFailure(err)
		b.api.scratch.put(s)
		return
	}
	user := string(req.user)
	b.lanes.send(user, func() {
		defer b.api.scratch.put(s)
		b.results[i] = b.submit(s, user, req)
	})
}

// itemFailure is that of an item which could not be read.
func itemFailure(err error) *failure {
	f := *asFailure(err)
	f.text = strings.Replace(f.text, "The body", "The item", 1)
	return &f
}

// submit makes an item durable, unless an earlier one of its user has failed in a way that lets it be sent again.
func (b *batch) submit(s *scratch, user string, req *request) (result batchResult) {
	b.mu.Lock()
	held := b.held[user]
	b.mu.Unlock()
	if held {
		return batchResult{failure: &failure{code: unavailable, text: "Nothing was stored, since an earlier item of this user was not; try again"}}
	}
	defer func() {
		if p := recover(); p != nil {
			b.api.logPanic("batch", p, b.trace)
			result = batchResult{failure: fail(internal)}
		}
		if f := result.failure; f != nil && f.again() {
			b.hold(user, f)
		}
	}()
	done, err := b.api.submit(b.ctx, s, b.account, req, b.trace)
	if err != nil {
		return batchResult{failure: asFailure(err)}
	}
	return batchResult{accepted: done}
}

func (b *batch) hold(user string, f *failure) {
	b.api.log.report(f, batchPath, b.trace)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[user] = true
}

// answer renders the results in the order of the items.
func (b *batch) answer() []byte {
	out := []byte{'['}
	for i := range b.results {
		if i > 0 {
			out = append(out, ',')
		}
		r := &b.results[i]
		status := r.status()
		out = fmt.Appendf(out, `{"status":%d,`, status)
		if r.failure != nil {
			out = append(out, r.failure.envelope()[1:]...)
		} else {
			out = r.appendTo(out)
			if r.replayed {
				out = append(out, `,"replayed":true`...)
			}
			out = append(out, '}')
		}
	}
	return append(out, ']')
}

// count counts the items.
func (b *batch) count(class ratelimit.Class) {
	m := b.api.metrics
	for i := range b.results {
		r := &b.results[i]
		m.items.WithLabelValues(strconv.Itoa(r.status())).Inc()
		if r.failure != nil {
			m.refuse(class, r.failure.code)
		} else {
			m.take(class, r.accepted)
		}
	}
}

func (r *batchResult) status() int {
	if r.failure != nil {
		return codes[r.failure.code].status
	}
	return http.StatusOK
}
