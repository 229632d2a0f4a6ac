package httpapi

import (
	"errors"
	"sync"
)

// share is something of which there is only so much, such as places or bytes, among accounts of which none may keep the others from it: an account may have as much
// of it as is left for everybody else. So one alone gets half of all there is, two get a third each, and there is always something for who comes new, however many
// connections another one has. Safe for concurrent use.
type share struct {
	mu   sync.Mutex
	free int64
	held map[string]int64 // by account; those that have nothing are not in it
}

func newShare(all int64) *share { return &share{free: all, held: map[string]int64{}} }

// take takes n for an account, all or nothing.
func (s *share) take(account string, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[account]+n > s.free {
		return false
	}
	s.held[account] += n
	s.free -= n
	return true
}

// giveBack gives back what was taken.
func (s *share) giveBack(account string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	if s.held[account] -= n; s.held[account] == 0 {
		delete(s.held, account)
	}
}

// out is how much is taken.
func (s *share) out(all int64) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(all - s.free)
}

// loan is what one request has of the bytes of all bodies. For one goroutine.
type loan struct {
	of      *share
	account string
	bytes   int64
}

// more takes n bytes more, or none.
func (l *loan) more(n int64) bool {
	if !l.of.take(l.account, n) {
		return false
	}
	l.bytes += n
	return true
}

// end gives everything back.
func (l *loan) end() {
	if l.bytes > 0 {
		l.of.giveBack(l.account, l.bytes)
		l.bytes = 0
	}
}

// Limits that are for everybody together; each is a label of the metric, and the cause of an answer 503.
const (
	limitRequests    = "requests"
	limitBodyBytes   = "body_bytes"
	limitBatches     = "batches"
	limitImports     = "imports"
	limitTurns       = "turns"
	limitConnections = "connections"
)

var (
	errRequests  = errors.New("as many requests in hand, of this account or of all, as there may be (-max-requests)")
	errBodyBytes = errors.New("as many bytes of bodies in hand, of this account or of all, as there may be (-max-body-bytes)")
	errBatches   = errors.New("as many batches in hand, of this account or of all, as there may be (-batches)")
	errImports   = errors.New("as many imports in hand, of this account or of all, as there may be (-imports)")
)

// overloaded is the answer where a limit is reached, and counts it.
func (a *API) overloaded(limit string, cause error) *failure {
	a.metrics.overloads.WithLabelValues(limit).Inc()
	return &failure{code: unavailable, cause: cause}
}
