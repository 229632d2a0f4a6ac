package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/statequery"
)

const (
	someTime = int64(1767323045678) // 2026-01-02T03:04:05.678Z
	forever  = time.Hour
)

// settled makes the owner answer every question for an outcome with a status.
func settled(status, reason string) func(context.Context, string, int, string, time.Duration) (*statequery.Outcome, error) {
	return func(_ context.Context, _ string, _ int, id string, _ time.Duration) (*statequery.Outcome, error) {
		return &statequery.Outcome{
			TriggerID: id, UserID: "alice", Status: status, Reason: reason, AcceptedAt: someTime, AppliedAt: someTime + 1, UserVersion: 3,
		}, nil
	}
}

func TestPutUser(t *testing.T) {
	const head = `{"type":"register","account":"demo","user":"alice"`
	for _, tc := range []struct{ body, want string }{
		{`{}`, head + `}`},
		{`{"bot_id":"shop"}`, head + `,"bot":"shop"}`},
		{`{"bot_id":null,"module_id":null,"custom_vars":null}`, head + `}`},
		{`{"module_id":21890,"custom_vars":{"a":[1, 2]}}`, head + `,"module":21890,"bot":"shop","vars":{"a":[1,2]}}`},
		{`{"bot_id":"shop","module_id":"21890"}`, head + `,"module":21890,"bot":"shop"}`},
		{`{"user_id":17,"is_async":true,"wait_time":"no field of this call"}`, head + `}`},
	} {
		w := newWorld(t, nil)
		w.state.outcome = settled("applied", "")
		w.do(http.MethodPut, "/v1/users/alice", tc.body).want(t, 200,
			`{"trigger_id":"2-10482-3","user_id":"alice","status":"applied","reason":null,"duplicate_of":null,"accepted_at":"2026-01-02T03:04:05.678Z","applied_at":"2026-01-02T03:04:05.679Z","user_version":3}`)
		if got := w.appender.all(); len(got) != 1 || got[0].line != tc.want {
			t.Errorf("%s: appended %+v", tc.body, got)
		}
		if !slices.Equal(w.users.learned, []string{"demo/alice"}) {
			t.Errorf("%s: learned %q", tc.body, w.users.learned)
		}
	}
}

func TestPutUserRefuses(t *testing.T) {
	for _, tc := range []struct{ path, body, code string }{
		{"alice", `{"bot_id":"help","module_id":21890}`, "invalid_field"},
		{"alice", `{"bot_id":7}`, "invalid_field"},
		{"alice", `{"bot_id":"a\u0000b"}`, "invalid_field"},
		{"alice", `{"module_id":555}`, "unknown_module"},
		{"alice", `{"custom_vars":{"a":1},"custom_vars":{}}`, "invalid_json"},
		{"alice", `null`, "invalid_json"},
		{"a%00b", `{}`, "invalid_field"},
		{"a%7Fb", `{}`, "invalid_field"},
		{"a%C2%85b", `{}`, "invalid_field"},
		{"%FF", `{}`, "invalid_field"},
		{strings.Repeat("x", 257), `{}`, "invalid_field"},
	} {
		w := newWorld(t, nil)
		a := w.do(http.MethodPut, "/v1/users/"+tc.path, tc.body)
		if a.status != 400 || !strings.Contains(a.body, `"code":"`+tc.code+`"`) || len(w.appender.all()) != 0 {
			t.Errorf("%s %s: %d %s", tc.path, tc.body, a.status, a.body)
		}
	}
}

// TestPutUserWaits shows what is said when the owner has not applied the record in time, and when it will not.
func TestPutUserWaits(t *testing.T) {
	w := newWorld(t, nil)
	a := w.do(http.MethodPut, "/v1/users/alice", `{}`)
	a.want(t, 202, `{"trigger_id":"2-10482-3","user_id":"alice","status":"accepted","reason":null,"duplicate_of":null,"accepted_at":null,"applied_at":null,"user_version":null}`)
	if a.header.Get("Location") != "/v1/triggers/2-10482-3" || len(w.users.learned) != 0 {
		t.Errorf("headers %v, learned %q", a.header, w.users.learned)
	}
	for reason, want := range map[string]string{
		"too_much_state": `{"type":"about:blank","title":"Bad Request","status":400,"detail":"custom_vars: the user would have more than the limit of bytes in variables","code":"invalid_field"}`,
		"poison":         `{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"Internal error","code":"internal"}`,
	} {
		w.state.outcome = settled("rejected", reason)
		a := w.do(http.MethodPut, "/v1/users/alice", `{}`)
		a.want(t, a.status, want)
	}
}

// TestUserIDs shows that an id is opaque: whatever it holds reaches the log as it is, decoded once.
func TestUserIDs(t *testing.T) {
	for _, id := range []string{"alice", "a b", "a/b", "a%2Fb", "100%", "..", ".", "?x=1", "a+b", "ключ", "a\\\"b", "../../openapi.json"} {
		w := newWorld(t, nil)
		w.state.outcome = settled("applied", "")
		a := w.do(http.MethodPut, "/v1/users/"+escape(id), `{}`)
		got := w.appender.all()
		if a.status != 200 || len(got) != 1 {
			t.Errorf("%q: %d %s", id, a.status, a.body)
			continue
		}
		var line struct{ User string }
		if err := json.Unmarshal([]byte(got[0].line), &line); err != nil || line.User != id {
			t.Errorf("%q: appended %s", id, got[0].line)
		}
		if got[0].partition != broker.Partition("demo", id, 8) {
			t.Errorf("%q: partition %d", id, got[0].partition)
		}
	}
}

// escape encodes an id for a path, the dots too, which clients would otherwise resolve.
func escape(id string) string {
	return strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
}

func TestDeleteUser(t *testing.T) {
	w := newWorld(t, nil)
	w.state.outcome = settled("applied", "")
	a := w.do(http.MethodDelete, "/v1/users/alice", "")
	a.want(t, 204, "")
	got := w.appender.all()
	if len(got) != 1 || got[0].line != `{"type":"delete","account":"demo","user":"alice"}` || !slices.Equal(w.users.forgot, []string{"demo/alice"}) {
		t.Errorf("appended %+v, forgot %q", got, w.users.forgot)
	}
	w.state.outcome = settled("rejected", "unknown_user")
	w.do(http.MethodDelete, "/v1/users/alice", "").want(t, 404,
		`{"type":"about:blank","title":"Not Found","status":404,"detail":"Bot user with this id does not exist","code":"unknown_user"}`)
	w.state.outcome = nil
	if a := w.do(http.MethodDelete, "/v1/users/alice", ""); a.status != 202 || a.header.Get("Location") == "" {
		t.Errorf("not applied in time: %d %s", a.status, a.body)
	}
}

// TestDeleteUnknownUser shows that nothing is written for a user that is known not to exist.
func TestDeleteUnknownUser(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.do(http.MethodDelete, "/v1/users/nobody", ""); a.status != 404 || len(w.appender.all()) != 0 {
		t.Errorf("%d %s, appended %+v", a.status, a.body, w.appender.all())
	}
	w.users.verdicts["demo/nobody"] = admission.Unverified
	if a := w.do(http.MethodDelete, "/v1/users/nobody", ""); a.status != 202 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestGetUser(t *testing.T) {
	w := newWorld(t, nil)
	before, after := int64(21890), int64(1068935)
	w.state.ask = func(p int, req statequery.Request) (statequery.Reply, error) {
		if p != 2 || *req.User != (statequery.User{Account: "demo", User: "alice"}) {
			return statequery.Reply{}, statequery.ErrBadRequest
		}
		return statequery.Reply{User: &statequery.UserState{
			BotID: "shop", ModuleID: &after, Version: 4, UpdatedAt: someTime,
			Vars:    map[string]json.RawMessage{"b": []byte(`"<&>"`), "a": []byte("1e400")},
			Pending: []statequery.Pending{{TriggerID: "2-9-0", ModuleID: 21890, DueAt: someTime + 1000}},
			Changes: []statequery.Change{
				{TriggerID: "2-7-0", At: someTime - 1},
				{TriggerID: "2-8-1", At: someTime, ModuleBefore: &before, ModuleAfter: &after, Variables: []string{"a"}},
			},
		}}, nil
	}
	r := httpRequest(http.MethodGet, "/v1/users/alice", "")
	answerOf(w, r).want(t, 200, `{"user_id":"alice","bot_id":"shop","module_id":1068935,"custom_vars":{"a":1e400,"b":"<&>"},"version":4,"updated_at":"2026-01-02T03:04:05.678Z",`+
		`"pending_redirects":[{"trigger_id":"2-9-0","module_id":21890,"due_at":"2026-01-02T03:04:06.678Z"}],`+
		`"changes":[{"trigger_id":"2-7-0","at":"2026-01-02T03:04:05.677Z","module_before":null,"module_after":null,"variables":[]},`+
		`{"trigger_id":"2-8-1","at":"2026-01-02T03:04:05.678Z","module_before":21890,"module_after":1068935,"variables":["a"]}]}`)
}

func TestGetNewUser(t *testing.T) {
	w := newWorld(t, nil)
	w.state.ask = func(int, statequery.Request) (statequery.Reply, error) {
		return statequery.Reply{User: &statequery.UserState{Version: 1, UpdatedAt: someTime}}, nil
	}
	w.do(http.MethodGet, "/v1/users/alice", "").want(t, 200,
		`{"user_id":"alice","bot_id":null,"module_id":null,"custom_vars":{},"version":1,"updated_at":"2026-01-02T03:04:05.678Z","pending_redirects":[],"changes":[]}`)
}

func TestGetUserErrors(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
	}{
		{nil, 404},
		{statequery.ErrNotFound, 404},
		{statequery.ErrSilent, 503},
		{statequery.ErrBehind, 503},
		{statequery.ErrOverloaded, 503},
	} {
		w := newWorld(t, nil)
		w.state.ask = func(int, statequery.Request) (statequery.Reply, error) { return statequery.Reply{}, tc.err }
		if a := w.do(http.MethodGet, "/v1/users/alice", ""); a.status != tc.status {
			t.Errorf("%v: %d %s", tc.err, a.status, a.body)
		}
	}
}

// TestAccountsAreApart shows that each account asks for, and writes, its own users alone.
func TestAccountsAreApart(t *testing.T) {
	w := newWorld(t, nil)
	w.state.outcome = settled("applied", "")
	w.state.ask = func(p int, req statequery.Request) (statequery.Reply, error) {
		if req.User.Account != "other" {
			t.Errorf("asked for %+v", req.User)
		}
		return statequery.Reply{}, nil
	}
	as := []string{"Authorization", "JWT other:runtime"}
	w.do(http.MethodGet, "/v1/users/alice", "", as...)
	w.do(http.MethodPut, "/v1/users/alice", `{}`, as...)
	w.do(http.MethodDelete, "/v1/users/alice", "", as...)
	if a := w.do(http.MethodGet, "/v1/bots/shop/modules", "", as...); a.status != 404 {
		t.Errorf("modules: %d %s", a.status, a.body)
	}
	for _, got := range w.appender.all() {
		if got.account != "other" || !strings.Contains(got.line, `"account":"other"`) {
			t.Errorf("appended %+v", got)
		}
	}
}

// TestScopes says who may do what.
func TestScopes(t *testing.T) {
	allowed := map[string]auth.Scopes{
		"POST " + triggerPath:        auth.ScopeTrigger,
		"POST " + batchPath:          auth.ScopeTrigger,
		"PUT /v1/users/alice":        operators,
		"GET /v1/users/alice":        operators,
		"DELETE /v1/users/alice":     operators,
		"POST /v1/users":             operators,
		"PUT /v1/bots/shop/modules":  operators,
		"GET /v1/bots/shop/modules":  operators,
		"GET /v1/triggers/2-10482-3": operators,
		"GET /v1/deadletters":        auth.ScopeAdmin,
	}
	w := newWorld(t, nil)
	for call, scopes := range allowed {
		method, path, _ := strings.Cut(call, " ")
		for _, word := range []string{"trigger", "runtime", "admin"} {
			a := answerOf(w, httpRequest(method, path, "x", "Authorization", fmt.Sprintf("JWT demo:%s", word)))
			refused := strings.Contains(a.body, "forbidden") || strings.Contains(a.body, "invalid_token")
			if refused == scopes.Has(auth.ParseScopes(word)) {
				t.Errorf("%s with %s: %d %s", call, word, a.status, a.body)
			}
		}
	}
}
