package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/ingress/internal/directory"
)

func TestModules(t *testing.T) {
	w := newWorld(t, nil)
	const set = `{"modules":[{"id":1,"name":"One"},{"id":2,"name":"\u003cTwo\u003e"}]}`
	w.do(http.MethodPut, "/v1/bots/new%20bot/modules", set).want(t, 200, `{"modules":[{"id":1,"name":"One"},{"id":2,"name":"<Two>"}]}`)
	w.do(http.MethodGet, "/v1/bots/new%20bot/modules", "").want(t, 200, `{"modules":[{"id":1,"name":"One"},{"id":2,"name":"<Two>"}]}`)
	w.do(http.MethodPut, "/v1/bots/new%20bot/modules", `{"modules":[]}`).want(t, 200, `{"modules":[]}`)
	w.do(http.MethodGet, "/v1/bots/none/modules", "").want(t, 404,
		`{"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing here","code":"not_found"}`)
}

func TestModulesRefuse(t *testing.T) {
	for body, code := range map[string]string{
		`{}`:                                           "missing_field",
		`{"modules":null}`:                             "invalid_field",
		`{"modules":{}}`:                               "invalid_field",
		`{"modules":[1]}`:                              "invalid_field",
		`{"modules":[{"id":1}]}`:                       "invalid_field",
		`{"modules":[{"name":"x"}]}`:                   "invalid_field",
		`{"modules":[{"id":0,"name":""}]}`:             "invalid_field",
		`{"modules":[{"id":1e400,"name":"x"}]}`:        "invalid_field",
		`{"modules":[{"id":1,"name":2}]}`:              "invalid_field",
		`{"modules":[{"id":1,"id":2,"name":"x"}]}`:     "invalid_json",
		`{"modules":[{"id":1,"name":"x","name":"y"}]}`: "invalid_json",
		`{"modules":[],"modules":[]}`:                  "invalid_json",
		`{"modules":[`:                                 "invalid_json",
		`[]`:                                           "invalid_json",
	} {
		a := newWorld(t, nil).do(http.MethodPut, "/v1/bots/shop/modules", body)
		if a.status != 400 || !strings.Contains(a.body, `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s, want %s", body, a.status, a.body, code)
		}
	}
}

func TestDeclareFailures(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		detail string
	}{
		{&directory.TakenError{ID: 21890, Bot: "secret"}, 409, "Module 21890 belongs to another bot of the account"},
		{&directory.LimitError{Field: "modules", Limit: 10}, 400, "modules is over the limit of 10"},
		{&directory.InvalidError{Field: "name", Reason: "is not UTF-8"}, 400, "name is not UTF-8"},
		{errors.New("no broker"), 503, "Not available at the moment, nothing was stored; try again"},
	} {
		w := newWorld(t, nil)
		w.directory.err = tc.err
		a := w.do(http.MethodPut, "/v1/bots/help/modules", `{"modules":[]}`)
		if a.status != tc.status || !strings.Contains(a.body, `"detail":"`+tc.detail+`"`) {
			t.Errorf("%v: %d %s", tc.err, a.status, a.body)
		}
	}
}
