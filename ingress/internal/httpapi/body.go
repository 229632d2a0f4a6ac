package httpapi

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"sync"
)

// scratch is what a request needs for as long as it lasts, taken from a pool.
type scratch struct {
	body    []byte
	line    []byte // the record
	account []byte
	trace   []byte // the record's
	out     []byte // the answer
	decoder decoder
	printer printer
}

// maxKept is the largest buffer that goes back into the pool, in bytes.
const maxKept = 64 << 10

type scratchPool struct{ pool sync.Pool }

func newScratchPool(maxVars int) *scratchPool {
	return &scratchPool{sync.Pool{New: func() any { return &scratch{decoder: decoder{maxVars: maxVars}} }}}
}

func (p *scratchPool) get() *scratch { return p.pool.Get().(*scratch) }

func (p *scratchPool) put(s *scratch) {
	if cap(s.body) <= maxKept && cap(s.line) <= maxKept && cap(s.decoder.compact) <= maxKept && s.printer.kept() {
		p.pool.Put(s)
	}
}

// checkMedia refuses a body of another type and one that is encoded (compressed).
func checkMedia(r *http.Request, want string) error {
	if !isMedia(r.Header.Get("Content-Type"), want) {
		return &failure{code: unsupportedMediaType, text: "Content-Type must be " + want}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &failure{code: unsupportedMediaType, text: "Content-Encoding is not supported: send the body as it is"}
	}
	return nil
}

func isMedia(contentType, want string) bool {
	if contentType == want {
		return true
	}
	got, _, err := mime.ParseMediaType(contentType)
	return err == nil && got == want
}

// minRead is how much room there is for the first read of a body of unknown length, in bytes.
const minRead = 4 << 10

// readBody appends the whole body to dst[:0]. It reads no more than limit+1 bytes, and nothing of a body that announces more. What it needs beyond minRead
// is taken from l as the bytes come: nobody gets memory for what they only announce.
func (a *API) readBody(r *http.Request, dst []byte, limit int64, l *loan) ([]byte, error) {
	if r.ContentLength > limit {
		return dst, fail(bodyTooLarge)
	}
	dst = slices.Grow(dst[:0], minRead)
	for {
		n, err := r.Body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case int64(len(dst)) > limit:
			return dst, fail(bodyTooLarge)
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, &failure{code: invalidJSON, text: "The body was cut off or came too slowly", cause: err}
		case len(dst) == cap(dst):
			if dst, err = a.grow(dst, r.ContentLength, l); err != nil {
				return dst, err
			}
		}
	}
}

// grow makes a full buffer twice as large, or as large as announced and one byte, so that the end is seen without growing.
func (a *API) grow(dst []byte, announced int64, l *loan) ([]byte, error) {
	size := 2 * len(dst)
	if announced >= int64(len(dst)) {
		size = min(size, int(announced)+1)
	}
	if !l.more(int64(size - len(dst))) {
		f := a.overloaded(limitBodyBytes, errBodyBytes)
		f.hangUp = true
		return dst, f
	}
	grown := make([]byte, len(dst), size)
	copy(grown, dst)
	return grown, nil
}
