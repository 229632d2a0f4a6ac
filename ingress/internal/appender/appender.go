// Package appender makes records durable: it packs the records of concurrent callers into batches, one in flight
// per partition, and repeats each batch until its fate is known.
package appender

import (
	"context"
	"errors"

	"github.com/triggerd/triggerd/shared/record"
)

// ErrUnavailable: nothing was stored and nothing will be; the caller may repeat. (log full, broker away, queue full, draining)
var ErrUnavailable = errors.New("unavailable")

// UnknownError: the record was sent but not confirmed in time; it may yet be stored.
type UnknownError struct{ Receipt record.Receipt }

func (e *UnknownError) Error() string { panic("skeleton") }

// Appender is safe for concurrent use.
type Appender struct{}

// Append makes line (one record as record.AppendTo renders it; the caller must not touch it again unless nothing but success or ErrUnavailable came back) durable in
// partition p and returns its position. It waits at most Config.Timeout and not beyond ctx. account is for fairness between accounts.
// Errors: wraps ErrUnavailable (with the cause), or *UnknownError.
func (a *Appender) Append(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	panic("skeleton")
}

// Writer is this appender's name in the log.
func (a *Appender) Writer() string { panic("skeleton") }
