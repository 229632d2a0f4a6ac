package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/ingress/internal/admission"
)

const triggerPath = "/actionsvc/trigger-response/"

// TestAccepted holds the published answer, byte for byte: clients in the field compare it.
func TestAccepted(t *testing.T) {
	for _, path := range []string{triggerPath, "/actionsvc/trigger-response", triggerPath + "?x=1"} {
		w := newWorld(t, nil)
		a := w.do(http.MethodPost, path, `{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"a": 1}}`)
		a.want(t, 200, `{"message":"1","error":[],"trigger_id":"2-10482-3","redirect":true}`)
		if len(a.header) != 1 || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", a.header)
		}
		if got := w.appender.all(); len(got) != 1 || got[0].partition != 2 || got[0].account != "demo" {
			t.Errorf("appended %+v", got)
		}
	}
}

// TestRecords says what becomes of what is sent: the record is what the machine will judge.
func TestRecords(t *testing.T) {
	const head = `{"type":"trigger","account":"demo","user":"alice"`
	const moved = head + `,"module":1068935,"bot":"shop","redirect":true`
	for _, tc := range []struct{ name, body, want string }{
		{"redirect", `{"user_id":"alice","module_id":1068935,"is_async":true}`, moved + `}`},
		{"numeric string", `{"user_id":"alice","module_id":"1068935","is_async":true}`, moved + `}`},
		{"other notations of an integer", `{"user_id":"alice","module_id":1.068935e6,"is_async":true}`, moved + `}`},
		{"no module", `{"user_id":"alice","module_id":null,"is_async":true}`, head + `}`},
		{"is_async absent", `{"user_id":"alice","module_id":1068935}`, head + `}`},
		{"is_async false", `{"user_id":"alice","module_id":1068935,"is_async":false}`, head + `}`},
		{"is_async is not exactly true", `{"user_id":"alice","module_id":1068935,"is_async":"true"}`, head + `}`},
		{"is_async is 1", `{"user_id":"alice","module_id":1068935,"is_async":1}`, head + `}`},
		{"wait", `{"user_id":"alice","module_id":1068935,"is_async":true,"wait_time":3}`, moved + `,"wait_ms":3000}`},
		{"wait rounds up", `{"user_id":"alice","module_id":1068935,"is_async":true,"wait_time":0.0001}`, moved + `,"wait_ms":1}`},
		{"wait without redirect", `{"user_id":"alice","module_id":null,"wait_time":3}`, head + `}`},
		{"null variables", `{"user_id":"alice","module_id":null,"custom_vars":null}`, head + `}`},
		{"values as sent", `{"user_id":"alice","module_id":null,"custom_vars":{"n":1e40,"m":-0.10,"s":"<\u00e9>","o":{"a":[ 1 , 2 ]},"z":null}}`,
			head + `,"vars":{"n":1e40,"m":-0.10,"s":"<\u00e9>","o":{"a":[1,2]},"z":null}}`},
		{"last of a name wins", `{"user_id":"alice","module_id":null,"custom_vars":{"a":1,"b":2,"a":3}}`, head + `,"vars":{"a":3,"b":2}}`},
		{"names differ in case", `{"user_id":"alice","module_id":null,"custom_vars":{"a":1,"A":2}}`, head + `,"vars":{"a":1,"A":2}}`},
		{"escaped field name", `{"user\u005fid":"alice","module_id":null}`, head + `}`},
		{"unknown fields", `{"x":{"y":[1]},"x":2,"User_id":3,"user_id":"alice","module_id":null}`, head + `}`},
		{"white space", " {\n\t\"user_id\" : \"alice\" ,\r\n \"module_id\" : null } \n", head + `}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			a := w.do(http.MethodPost, triggerPath, tc.body)
			got := w.appender.all()
			if a.status != 200 || len(got) != 1 || got[0].line != tc.want {
				t.Errorf("answer %d %s, appended %+v\n want %s", a.status, a.body, got, tc.want)
			}
			if redirect := strings.Contains(tc.want, "redirect"); strings.Contains(a.body, `"redirect":true`) != redirect {
				t.Errorf("answer %s", a.body)
			}
		})
	}
}

// TestHugeNumber is apart because the validator of the contract cannot hold this number. We can.
func TestHugeNumber(t *testing.T) {
	w := newWorld(t, nil)
	a := answerOf(w, httpRequest(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":null,"custom_vars":{"n":1e400}}`))
	if got := w.appender.all(); a.status != 200 || len(got) != 1 || !strings.Contains(got[0].line, `"vars":{"n":1e400}`) {
		t.Errorf("answer %d %s, appended %+v", a.status, a.body, got)
	}
}

// TestBotToBot shows that a Module of another bot of the account is allowed, and of another account is not.
func TestBotToBot(t *testing.T) {
	w := newWorld(t, nil)
	w.do(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":555}`).
		want(t, 400, `{"error":"Module with this id does not exist","message":null,"code":"unknown_module"}`)
	w.directory.bots["demo/help"] = w.directory.bots["other/store"]
	w.do(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":555,"is_async":true}`)
	if got := w.appender.all(); len(got) != 1 || !strings.Contains(got[0].line, `"bot":"help"`) {
		t.Errorf("appended %+v", got)
	}
}

func TestDefaultWait(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.DefaultWait = 3 * time.Second })
	w.do(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":21890,"is_async":true}`)
	w.do(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":21890,"is_async":true,"wait_time":0}`)
	got := w.appender.all()
	if len(got) != 2 || !strings.Contains(got[0].line, `"wait_ms":3000`) || strings.Contains(got[1].line, "wait_ms") {
		t.Errorf("appended %+v", got)
	}
}

func TestOptionalModule(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.OptionalModuleID = true })
	r := httpRequest(http.MethodPost, triggerPath, `{"user_id":"alice"}`)
	rec := answerOf(w, r) // the document describes the default
	rec.want(t, 200, `{"message":"1","error":[],"trigger_id":"2-10482-3","redirect":false}`)
	w.do(http.MethodPost, triggerPath, `{}`).
		want(t, 400, `{"error":"user_id is mandatory","message":null,"code":"missing_field"}`)
}

func TestMediaTypes(t *testing.T) {
	for header, status := range map[string]int{
		"application/json":                  200,
		"Application/JSON":                  200,
		"application/json; charset=utf-8":   200,
		" application/json ;charset=UTF-8":  200,
		"":                                  415,
		"text/json":                         415,
		"application/json-patch":            415,
		"application/x-www-form-urlencoded": 415,
		"application/json; charset":         415,
	} {
		w := newWorld(t, nil)
		a := answerOf(w, httpRequest(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":null}`, "Content-Type", header))
		if a.status != status {
			t.Errorf("%q: %d, want %d", header, a.status, status)
		}
	}
}

// TestAcceptingWithoutWorker shows that silence about a user is no reason to refuse, and is counted.
func TestAcceptingWithoutWorker(t *testing.T) {
	w := newWorld(t, nil)
	w.users.verdicts["demo/alice"] = admission.Unverified
	w.do(http.MethodPost, triggerPath, `{"user_id":"alice","module_id":null}`).
		want(t, 200, `{"message":"1","error":[],"trigger_id":"2-10482-3","redirect":false}`)
	w.do(http.MethodPost, triggerPath, `{"user_id":"bob","module_id":null}`)
	w.do(http.MethodPost, triggerPath, `{"user_id":"nobody","module_id":null}`)
	if accepted, unverified := testutil.ToFloat64(w.api.metrics.accepted), testutil.ToFloat64(w.api.metrics.unverified); accepted != 2 || unverified != 1 {
		t.Errorf("accepted %v, unverified %v", accepted, unverified)
	}
}
