package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// ErrNotAllowed: the user of this connection may not ask that. The broker's configuration says who may.
var ErrNotAllowed = errors.New("broker does not allow it to this user")

// errNotMade: something is missing that this user may not make.
var errNotMade = errors.New("not there, and not this user's to make")

// waiting turns the refusal to make something into a reason to wait for somebody who may.
func waiting(err error) error {
	if errors.Is(err, ErrNotAllowed) {
		return fmt.Errorf("%w: %w", errNotMade, err)
	}
	return err
}

// denials hears what the broker does not allow. It does not answer such a request; it says so beside it, on the connection, and without
// an ear for that a request would look unanswered.
type denials struct {
	mu      sync.Mutex
	waiting map[*denied]struct{}
}

// denied is a request that may turn out to be not allowed.
type denied struct {
	subject string // quoted, as the broker says it
	cancel  context.CancelCauseFunc
}

// listen puts an ear between the connection and who listened before.
func listen(conn *nats.Conn) *denials {
	d := &denials{waiting: map[*denied]struct{}{}}
	before := conn.ErrorHandler()
	conn.SetErrorHandler(func(conn *nats.Conn, sub *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) && d.hear(err) {
			return // whoever waits for the answer says what it means
		}
		if before != nil {
			before(conn, sub, err)
		}
	})
	return d
}

// hear ends the requests that err is about. It reports whether there is one.
func (d *denials) hear(err error) (heard bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.waiting {
		if strings.Contains(err.Error(), w.subject) {
			w.cancel(fmt.Errorf("%w: %w", ErrNotAllowed, err))
			heard = true
		}
	}
	return heard
}

// watch makes a context that ends when the broker does not allow a message to subject. done must be called. A nil denials hears nothing.
func (d *denials) watch(ctx context.Context, subject string) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if d == nil {
		return ctx, func() { cancel(nil) }
	}
	w := &denied{subject: strconv.Quote(subject), cancel: cancel}
	d.mu.Lock()
	d.waiting[w] = struct{}{}
	d.mu.Unlock()
	return ctx, func() {
		d.mu.Lock()
		delete(d.waiting, w)
		d.mu.Unlock()
		cancel(nil)
	}
}
