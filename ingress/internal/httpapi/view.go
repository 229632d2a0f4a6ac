package httpapi

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/triggerd/triggerd/ingress/internal/directory"
	"github.com/triggerd/triggerd/shared/statequery"
)

// The types here are what /v1 answers, member by member. They are apart from what travels between ingress and worker, because the
// one is a promise to clients and the other is ours.

type userView struct {
	UserID           string                     `json:"user_id"`
	BotID            *string                    `json:"bot_id"`
	ModuleID         *int64                     `json:"module_id"`
	CustomVars       map[string]json.RawMessage `json:"custom_vars"`
	Version          uint64                     `json:"version"`
	UpdatedAt        moment                     `json:"updated_at"`
	PendingRedirects []pendingView              `json:"pending_redirects"`
	Changes          []changeView               `json:"changes"`
}

type pendingView struct {
	TriggerID string `json:"trigger_id"`
	ModuleID  int64  `json:"module_id"`
	DueAt     moment `json:"due_at"`
}

type changeView struct {
	TriggerID    string   `json:"trigger_id"`
	At           moment   `json:"at"`
	ModuleBefore *int64   `json:"module_before"`
	ModuleAfter  *int64   `json:"module_after"`
	Variables    []string `json:"variables"`
}

type outcomeView struct {
	TriggerID   string  `json:"trigger_id"`
	UserID      string  `json:"user_id"`
	Status      string  `json:"status"`
	Reason      *string `json:"reason"`
	DuplicateOf *string `json:"duplicate_of"`
	AcceptedAt  moment  `json:"accepted_at"`
	AppliedAt   moment  `json:"applied_at"`
	UserVersion *uint64 `json:"user_version"`
}

type deadLetterView struct {
	ID         string  `json:"id"`
	WholeBatch bool    `json:"whole_batch"`
	Account    *string `json:"account"`
	Reason     string  `json:"reason"`
	At         moment  `json:"at"`
	Size       int     `json:"size"`
}

type modulesView struct {
	Modules []directory.Module `json:"modules"`
}

// moment is Unix milliseconds, shown as RFC 3339 in UTC; 0 is null.
type moment int64

func (m moment) MarshalJSON() ([]byte, error) {
	if m == 0 {
		return []byte("null"), nil
	}
	return time.UnixMilli(int64(m)).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

func viewUser(id string, u *statequery.UserState) userView {
	v := userView{
		UserID: id, BotID: orNull(u.BotID), ModuleID: u.ModuleID, CustomVars: u.Vars, Version: u.Version,
		UpdatedAt:        moment(u.UpdatedAt),
		PendingRedirects: make([]pendingView, len(u.Pending)), Changes: make([]changeView, len(u.Changes)),
	}
	if v.CustomVars == nil {
		v.CustomVars = map[string]json.RawMessage{}
	}
	for i, p := range u.Pending {
		v.PendingRedirects[i] = pendingView{p.TriggerID, p.ModuleID, moment(p.DueAt)}
	}
	for i, ch := range u.Changes {
		v.Changes[i] = changeView{ch.TriggerID, moment(ch.At), ch.ModuleBefore, ch.ModuleAfter, orEmpty(ch.Variables)}
	}
	return v
}

func viewOutcome(o *statequery.Outcome) outcomeView {
	return outcomeView{
		TriggerID: o.TriggerID, UserID: o.UserID, Status: o.Status, Reason: orNull(o.Reason),
		DuplicateOf: orNull(o.DuplicateOf), AcceptedAt: moment(o.AcceptedAt), AppliedAt: moment(o.AppliedAt),
		UserVersion: orNull(o.UserVersion),
	}
}

func viewDeadLetter(d statequery.DeadLetter) deadLetterView {
	return deadLetterView{d.ID, d.Whole, orNull(d.Account), d.Reason, moment(d.At), d.Size}
}

// orNull shows the zero value as null.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// orEmpty shows no elements as [], never as null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// writeView sends v as JSON. Characters stay as they are: the values of variables are not ours to rewrite.
func writeView(c echo.Context, status int, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return writeJSON(c, status, bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}))
}
