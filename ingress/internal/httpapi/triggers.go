package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

// maxHold is the longest that a client may have an answer held back.
const maxHold = statequery.MaxWait

var badHold = &failure{code: invalidField, text: "wait must be a duration from 0s to 30s, such as 10s"}

// getTrigger tells what became of a trigger, by its id or by its receipt.
func (a *API) getTrigger(c echo.Context) error {
	who, err := a.authorize(c, operators)
	if err != nil {
		return err
	}
	wait, err := hold(c)
	if err != nil {
		return err
	}
	name, ok := locate(c.Param("trigger_id"), a.cfg.Partitions)
	if !ok {
		return fail(notFound)
	}
	out, err := a.outcome(c.Request().Context(), who.Account, name, wait)
	if err != nil {
		return err
	}
	return writeView(c, http.StatusOK, viewOutcome(out))
}

// hold reads how long the answer may be held back.
func hold(c echo.Context) (time.Duration, error) {
	text := c.QueryParam("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxHold {
		return 0, badHold
	}
	return d, nil
}

// location is where a trigger's outcome is known.
type location struct {
	text      string
	partition int
	id        record.ID // only if isID
	isID      bool
}

// locate reads an id or a receipt. What names no partition of this deployment names nothing.
func locate(text string, partitions int) (l location, ok bool) {
	l.text = text
	if strings.HasPrefix(text, "r-") {
		receipt, err := record.ParseReceipt(text)
		l.partition = receipt.Partition
		return l, err == nil && l.partition < partitions
	}
	id, err := record.ParseID(text)
	l.id, l.isID, l.partition = id, true, id.Partition
	return l, err == nil && l.partition < partitions
}

// outcome asks the owner, and the log if the owner cannot say: a trigger that was accepted never looks lost.
func (a *API) outcome(ctx context.Context, account string, l location, wait time.Duration) (*statequery.Outcome, error) {
	waiting, done := a.untilStopping(ctx)
	defer done()
	out, err := a.deps.State.Outcome(waiting, account, l.partition, l.text, wait)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, statequery.ErrExpired):
		return nil, fail(outcomeExpired)
	case errors.Is(err, statequery.ErrNotFound):
		return nil, fail(notFound)
	case !l.isID:
		return nil, noState(err)
	}
	return a.acceptedOutcome(ctx, account, l.id)
}

// acceptedOutcome finds the record in the log, where it waits to be applied.
func (a *API) acceptedOutcome(ctx context.Context, account string, id record.ID) (*statequery.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.StateTimeout)
	defer cancel()
	msg, err := a.deps.Log.Message(ctx, id.Partition, id.Seq)
	if err != nil {
		return nil, noState(err) // not there: not yet, or applied and trimmed since
	}
	user, err := recordUser(msg, account, id.Index)
	if err != nil {
		return nil, err
	}
	return &statequery.Outcome{
		TriggerID: id.String(), UserID: user, Status: statequery.StatusAccepted, AcceptedAt: msg.Time.UnixMilli(),
	}, nil
}

// recordUser finds whose record stands at index. One of another account is not there.
func recordUser(msg *jetstream.RawStreamMsg, account string, index uint32) (user string, err error) {
	batch, err := record.ParseBatch(msg.Header, msg.Data)
	if errors.Is(err, record.ErrVersion) {
		return "", noState(err)
	}
	if err != nil {
		return "", fail(notFound)
	}
	err = batch.Lines(func(i int, line []byte) error {
		if uint32(i) != index {
			return nil
		}
		var rec record.Record
		if rec.Decode(line, batch.Version) == nil && string(rec.Account) == account {
			user = string(rec.User)
		}
		return nil
	})
	if err != nil || user == "" {
		return "", fail(notFound)
	}
	return user, nil
}

// untilStopping ends with parent, or when the server is told to shut down: whoever waits is then answered with what is known.
func (a *API) untilStopping(parent context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(parent)
	release := context.AfterFunc(a.stopping, cancel)
	return ctx, func() { release(); cancel() }
}
