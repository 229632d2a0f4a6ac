package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/shared/tracing"
)

// An import reads lines on the request's goroutine and has several on their way at once, since every line waits until
// it is durable and batches would otherwise hold one each. Lines of one user go one after the other, in their
// order; they do not hold up those of others.

type importError struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
	Code  string `json:"code"`
}

type importView struct {
	Imported int           `json:"imported"`
	Failed   int           `json:"failed"`
	Errors   []importError `json:"errors"`
}

// importUsers takes one conversation a line. What it holds in memory does not depend on how many there are.
func (a *API) importUsers(c echo.Context) error {
	who, err := a.authorize(c, operators)
	if err != nil {
		return err
	}
	if err := checkMedia(c.Request(), "application/x-ndjson"); err != nil {
		return err
	}
	end, err := a.admitImport(who.Account)
	if err != nil {
		return err
	}
	defer end()
	body := newPatientBody(c, a.cfg.ReadTimeout)
	im := a.newImport(c.Request().Context(), who.Account, traceOf(c))
	im.read(bufio.NewReaderSize(body, lineBuffer))
	result := im.finish()
	body.finish(a.cfg.WriteTimeout)
	return writeView(c, http.StatusOK, result)
}

// lineBuffer is how much of the body is read at once, in bytes.
const lineBuffer = 64 << 10

type importer struct {
	api     *API
	ctx     context.Context
	account string
	trace   tracing.Context
	lanes   *lanes

	mu     sync.Mutex
	result importView
	broken bool // records cannot be appended; the rest is not read
}

func (a *API) newImport(ctx context.Context, account string, trace tracing.Context) *importer {
	return &importer{
		api: a, ctx: ctx, account: account, trace: trace, lanes: newLanes(a.cfg.ImportParallel), result: importView{Errors: []importError{}},
	}
}

// carry makes a line durable.
func (im *importer) carry(number int, s *scratch, req *request) {
	defer im.api.scratch.put(s)
	defer func() {
		if p := recover(); p != nil {
			im.api.logPanic("/v1/users", p, im.trace)
			im.note(number, fail(internal))
		}
	}()
	_, err := im.api.register(im.ctx, s, im.account, req, im.trace, inBulk)
	im.note(number, err)
}

// finish waits for the lines in hand and says what became of all.
func (im *importer) finish() importView {
	im.lanes.wait()
	slices.SortFunc(im.result.Errors, func(x, y importError) int { return x.Line - y.Line })
	return im.result
}

// read takes the body line by line until it ends, or until it is of no use to go on.
func (im *importer) read(body *bufio.Reader) {
	for number := 1; ; number++ {
		s := im.api.scratch.get()
		line, err := readLine(body, s.body[:0], im.api.cfg.MaxBody)
		s.body = line
		if err == io.EOF {
			im.api.scratch.put(s)
			return
		}
		if err == nil && im.stopped() {
			err = &failure{code: unavailable, text: "The import stopped: lines from here on were not read", cut: true}
		}
		if !im.take(number, s, err) {
			return
		}
	}
}

// take judges one line and sends it on. It reports whether to go on.
func (im *importer) take(number int, s *scratch, err error) bool {
	if err == nil {
		if len(bytes.TrimSpace(s.body)) == 0 {
			im.api.scratch.put(s)
			return true
		}
		var req *request
		if req, err = s.decoder.line(s.body); err == nil {
			im.lanes.send(string(req.user), func() { im.carry(number, s, req) })
			return true
		}
	}
	im.note(number, err)
	im.api.scratch.put(s)
	var f *failure
	return !errors.As(err, &f) || !f.cut
}

func (im *importer) stopped() bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.broken || im.api.stopping.Err() != nil || im.ctx.Err() != nil
}

// note counts a line. Of the errors it keeps the first ones.
func (im *importer) note(number int, err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if err == nil {
		im.result.Imported++
		return
	}
	im.result.Failed++
	f := asFailure(err)
	switch f.code {
	case unavailable, unknownOutcome, internal:
		im.broken = true
		im.api.log.report(f, "/v1/users", im.trace)
	}
	if len(im.result.Errors) < im.api.cfg.ImportErrors {
		im.result.Errors = append(im.result.Errors, importError{number, f.message(), codes[f.code].word})
	}
}

// readLine appends the next line, without its end, to dst. A line over the limit is read to its end but not kept. io.EOF
// means that there is none.
func readLine(r *bufio.Reader, dst []byte, limit int64) ([]byte, error) {
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || int64(len(dst)+len(part)) > limit+1; !long {
			dst = append(dst, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(dst) == 0 && !long:
			return dst, io.EOF
		case err == io.EOF:
			err = nil
		case err != nil:
			return dst, &failure{code: invalidJSON, text: "The body was cut off or came too slowly", cut: true, cause: err}
		}
		dst = bytes.TrimSuffix(dst, []byte{'\n'})
		if long || int64(len(dst)) > limit {
			err = &failure{code: bodyTooLarge, text: "The line is over the limit"}
		}
		return dst, err
	}
}

// patientBody is a body that may take as long as it keeps coming: the timeouts count for each piece of it.
type patientBody struct {
	body    io.Reader
	control *http.ResponseController
	timeout time.Duration
}

func newPatientBody(c echo.Context, timeout time.Duration) *patientBody {
	b := &patientBody{c.Request().Body, http.NewResponseController(c.Response()), timeout}
	b.control.SetWriteDeadline(time.Time{}) // until finish; not every writer has deadlines, and then none is needed
	return b
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.control.SetReadDeadline(time.Now().Add(b.timeout))
	return b.body.Read(p)
}

// finish gives the answer its time.
func (b *patientBody) finish(timeout time.Duration) {
	b.control.SetWriteDeadline(time.Now().Add(timeout))
}
