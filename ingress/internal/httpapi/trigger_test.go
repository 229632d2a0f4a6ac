package httpapi

import (
	"net/http"
	"testing"
)

const triggerPath = "/actionsvc/trigger-response/"

// TestAccepted holds the published answer byte for byte: clients in the field compare it.
func TestAccepted(t *testing.T) {
	for _, path := range []string{triggerPath, "/actionsvc/trigger-response"} {
		w := newWorld(t, nil)
		r := w.do(http.MethodPost, path, `{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"a": 1}}`)
		want := `{"message":"1","error":[],"trigger_id":"2-10482-3","redirect":true}`
		if got := text(t, r); r.StatusCode != 200 || got != want || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %q %v", r.StatusCode, got, r.Header)
		}
		line := `{"type":"trigger","account":"demo","user":"alice","module":1068935,"bot":"shop","redirect":true,"vars":{"a":1}}`
		if got := w.appender.all(); len(got) != 1 || got[0].line != line || got[0].account != "demo" {
			t.Errorf("appended %+v", got)
		}
	}
}
