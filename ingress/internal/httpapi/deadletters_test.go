package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/shared/statequery"
)

func TestDeadLetters(t *testing.T) {
	w := newWorld(t, nil)
	w.state.ask = func(p int, req statequery.Request) (statequery.Reply, error) {
		if req.DeadLetters.Account != "demo" {
			t.Errorf("asked for %+v", req.DeadLetters)
		}
		switch p {
		case 1:
			return statequery.Reply{DeadLetters: []statequery.DeadLetter{{ID: "1-7-0", Whole: true, Reason: "malformed batch", At: someTime, Size: 12}}}, nil
		case 6:
			return statequery.Reply{DeadLetters: []statequery.DeadLetter{
				{ID: "6-9-2", Account: "demo", Reason: "panic", At: someTime + 2, Size: 99},
				{ID: "6-8-0", Account: "demo", Reason: "panic", At: someTime - 2, Size: 99},
			}}, nil
		}
		return statequery.Reply{}, nil
	}
	const (
		second = `{"id":"1-7-0","whole_batch":true,"account":null,"reason":"malformed batch","at":"2026-01-02T03:04:05.678Z","size":12}`
		first  = `{"id":"6-9-2","whole_batch":false,"account":"demo","reason":"panic","at":"2026-01-02T03:04:05.680Z","size":99}`
		third  = `{"id":"6-8-0","whole_batch":false,"account":"demo","reason":"panic","at":"2026-01-02T03:04:05.676Z","size":99}`
	)
	w.do(http.MethodGet, "/v1/deadletters", "").want(t, 200, `{"dead_letters":[`+first+`,`+second+`,`+third+`]}`)
	w.do(http.MethodGet, "/v1/deadletters?limit=2", "").want(t, 200, `{"dead_letters":[`+first+`,`+second+`]}`)
	for _, limit := range []string{"0", "1001", "x", "-1"} {
		if a := w.do(http.MethodGet, "/v1/deadletters?limit="+limit, ""); a.status != 400 {
			t.Errorf("limit %s: %d %s", limit, a.status, a.body)
		}
	}
}

// TestDeadLettersAllOrNothing shows that a list with holes is not passed off as whole.
func TestDeadLettersAllOrNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.state.ask = func(p int, _ statequery.Request) (statequery.Reply, error) {
		if p == 3 {
			return statequery.Reply{}, fmt.Errorf("ask: %w", statequery.ErrSilent)
		}
		return statequery.Reply{}, nil
	}
	if a := w.do(http.MethodGet, "/v1/deadletters", ""); a.status != 503 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "unavailable") {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.state.ask = func(int, statequery.Request) (statequery.Reply, error) { return statequery.Reply{}, nil }
	w.do(http.MethodGet, "/v1/deadletters", "").want(t, 200, `{"dead_letters":[]}`)
}
