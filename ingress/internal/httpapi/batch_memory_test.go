package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// TestBatchOfManyBytes shows that the largest body is held about once, not as a tree of what is in it: all that is allocated for it, kept or not, is less than
// four times its size (eight where the race detector throws away a part of what is pooled). The records are on their way to the log, which is not counted here.
func TestBatchOfManyBytes(t *testing.T) {
	w := newWorld(t, nil)
	w.appender.silent = true
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `,{"user_id":"user-%d","module_id":null,"idempotency_key":"k%d","custom_vars":{"list":[%s0]}}`, i, i, strings.Repeat(`{"a":[1,2]},`, 680))
	}
	body := "[" + b.String()[1:] + "]"
	if len(body) < DefaultMaxBatchBody*95/100 || len(body) > DefaultMaxBatchBody {
		t.Fatalf("the body has %d bytes", len(body))
	}
	handler := w.api.Handler()
	send := func() uint64 {
		r := httpRequest(http.MethodPost, "/actionsvc/trigger-response/batch/", body)
		rec := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		handler.ServeHTTP(rec, r)
		runtime.ReadMemStats(&after)
		if rec.Code != 200 || strings.Contains(rec.Body.String(), `"status":4`) {
			t.Fatalf("answer %d %.200s", rec.Code, rec.Body)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	send() // fills the pools
	most := uint64(4 * DefaultMaxBatchBody)
	if raceEnabled {
		most *= 2
	}
	if took := send(); took > most {
		t.Errorf("%d bytes were allocated for a body of %d", took, len(body))
	} else {
		t.Logf("%.1f times the body was allocated", float64(took)/float64(len(body)))
	}
}
