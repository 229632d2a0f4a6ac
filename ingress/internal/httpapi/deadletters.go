package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/shared/statequery"
)

const (
	defaultDeadLetters = 100
	maxDeadLetters     = statequery.MaxDeadLetters
	askedAtOnce        = 16 // partitions
)

var badLimit = &failure{code: invalidField, text: "limit must be a number from 1 to 1000"}

// getDeadLetters lists the account's newest poison records over all partitions.
func (a *API) getDeadLetters(c echo.Context) error {
	who, err := a.authorize(c, auth.ScopeAdmin)
	if err != nil {
		return err
	}
	limit, err := limitOf(c)
	if err != nil {
		return err
	}
	letters, err := a.gather(c.Request().Context(), who.Account, limit)
	if err != nil {
		return err
	}
	views := make([]deadLetterView, len(letters))
	for i, l := range letters {
		views[i] = viewDeadLetter(l)
	}
	return writeView(c, http.StatusOK, map[string]any{"dead_letters": views})
}

func limitOf(c echo.Context) (int, error) {
	text := c.QueryParam("limit")
	if text == "" {
		return defaultDeadLetters, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxDeadLetters {
		return 0, badLimit
	}
	return n, nil
}

// gather asks every partition. All must answer: a list with holes would read as good news.
func (a *API) gather(ctx context.Context, account string, limit int) ([]statequery.DeadLetter, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.StateTimeout)
	defer cancel()
	found := make([][]statequery.DeadLetter, a.cfg.Partitions)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for p := range found {
		group.Go(func() error {
			reply, err := a.deps.State.Ask(ctx, p, statequery.Request{
				DeadLetters: &statequery.DeadLettersOf{Account: account, Limit: limit},
			})
			if err != nil {
				return fmt.Errorf("partition %d: %w", p, err)
			}
			found[p] = reply.DeadLetters
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, noState(err)
	}
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(x, y statequery.DeadLetter) int { return cmp.Compare(y.At, x.At) })
	return all[:min(len(all), limit)], nil
}
