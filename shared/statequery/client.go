package statequery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/record"
)

var (
	// ErrSilent: no owner answered in time; nothing is known.
	ErrSilent = errors.New("partition's owner is silent")
	// ErrNotFound: the owner says that it does not exist (final).
	ErrNotFound = errors.New("not found")
	// ErrExpired: the outcome is no longer kept.
	ErrExpired = errors.New("outcome expired")
	// ErrBehind: the owner had not applied far enough when the wait was over.
	ErrBehind = errors.New("partition's owner is behind")
	// ErrBadRequest: the question is not one that can be asked.
	ErrBadRequest = errors.New("bad request")
	// ErrOverloaded: the owner refuses further questions for the moment.
	ErrOverloaded = errors.New("partition's owner is overloaded")
	// ErrMalformed: the reply cannot be understood.
	ErrMalformed = errors.New("malformed reply")
)

// How Outcome goes about waiting.
const (
	// grace is what an answer may take on top of the time for which the owner may hold it.
	grace = time.Second
	// maxHold bounds one question of a longer wait: an owner that died with the question in hand is noticed after
	// maxHold+grace, and the next owner is asked.
	maxHold = 5 * time.Second
	// Pause between two questions, doubling: while nobody listens, or an owner answers without holding.
	minPause = 10 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// Client asks over one connection. Safe for concurrent use.
type Client struct{ conn *nats.Conn }

// NewClient asks over conn, which stays the caller's.
func NewClient(conn *nats.Conn) *Client { return &Client{conn: conn} }

// Ask sends one question to p's owner and waits for the answer until ctx ends, or, if it has no deadline, for a second more than the
// request lets the owner hold the answer. Errors wrap: ErrSilent, no responder or no answer (and ctx's own error, where that was the
// reason); ErrMalformed; ErrBadRequest, which is not sent if it is found here; ErrNotFound, ErrExpired, ErrBehind and ErrOverloaded as the
// owner said. With those four the Reply is what came with them; a Check that is behind still tells who is known.
func (c *Client) Ask(ctx context.Context, p int, req Request) (Reply, error) {
	data, err := EncodeRequest(req)
	if err != nil {
		return Reply{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.WaitMillis)*time.Millisecond+grace)
		defer cancel()
	}
	msg, err := c.conn.RequestWithContext(ctx, broker.StateSubject(p), data)
	if err != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrSilent, err)
	}
	reply, err := decodeReply(req, msg.Data)
	if err != nil {
		return Reply{}, err
	}
	return reply, reply.Err()
}

// Err is the error for which the reply's word stands, nil if it has none.
func (r *Reply) Err() error {
	switch r.Error {
	case "":
		return nil
	case WordNotFound:
		return ErrNotFound
	case WordExpired:
		return ErrExpired
	case WordBehind:
		return ErrBehind
	case WordBadRequest:
		return ErrBadRequest
	case WordOverloaded:
		return ErrOverloaded
	}
	return fmt.Errorf("%w: owner says %q", ErrMalformed, r.Error)
}

// Outcome asks for a record's fate, repeating over owner changes until it is final or wait (0 to MaxWait) has passed;
// wait 0 asks once. It takes up to a second longer than wait where an owner holds the question and dies.
//
// It returns the outcome as far as known: with a nil error it may still be one that is not Final. Errors: ErrNotFound and ErrExpired at once,
// except that a receipt's record may reach the log while one waits for it, so that ErrNotFound is then repeated too; otherwise that of
// the last attempt, mostly ErrSilent.
func (c *Client) Outcome(ctx context.Context, account string, p int, id string, wait time.Duration) (*Outcome, error) {
	deadline := time.Now().Add(min(wait, MaxWait))
	var known *Outcome
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		left := time.Until(deadline)
		out, err := c.outcomeOnce(ctx, account, p, id, min(left, maxHold))
		if err == nil {
			known = out
		}
		if settled(out, err, id) || !sleep(ctx, min(pause, time.Until(deadline))) {
			return lastKnown(known, err)
		}
	}
}

// OutcomeAt is Outcome for a record whose id is at hand, as after appending it.
func (c *Client) OutcomeAt(ctx context.Context, account string, id record.ID, wait time.Duration) (*Outcome, error) {
	return c.Outcome(ctx, account, id.Partition, id.String(), wait)
}

// outcomeOnce asks once and lets the owner hold the answer for hold, if that is a time at all.
func (c *Client) outcomeOnce(ctx context.Context, account string, p int, id string, hold time.Duration) (*Outcome, error) {
	hold = max(hold, 0)
	ctx, cancel := context.WithTimeout(ctx, hold+grace)
	defer cancel()
	reply, err := c.Ask(ctx, p, Request{
		Outcome:    &OutcomeOf{Account: account, ID: id, Final: hold >= time.Millisecond},
		WaitMillis: hold.Milliseconds(),
	})
	if err != nil {
		return nil, err
	}
	return reply.Outcome, nil
}

// settled reports whether asking again could not change the answer.
func settled(out *Outcome, err error, id string) bool {
	switch {
	case err == nil:
		return out.Final()
	case errors.Is(err, ErrNotFound):
		return !strings.HasPrefix(id, "r-")
	}
	return errors.Is(err, ErrExpired) || errors.Is(err, ErrBadRequest) || errors.Is(err, ErrMalformed)
}

// lastKnown prefers an outcome that was once seen over the error of the last attempt, unless that was a final word.
func lastKnown(known *Outcome, err error) (*Outcome, error) {
	switch {
	case err == nil || known == nil:
		return known, err
	case errors.Is(err, ErrSilent), errors.Is(err, ErrBehind), errors.Is(err, ErrOverloaded):
		return known, nil
	}
	return nil, err
}

// sleep returns false at once if there is nothing to wait for, or as soon as ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 || ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
