package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/triggerd/triggerd/ingress/internal/appender"
)

func (w *world) importLines(lines ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, "/v1/users", strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson")
}

func TestImport(t *testing.T) {
	w := newWorld(t, nil)
	a := w.importLines(
		`{"user_id":"alice","bot_id":"shop","module_id":21890}`,
		``,
		`{"user_id":"bob","custom_vars":{"a":1}}`+"\r",
		`{"user_id":"eve","module_id":555}`,
		`{"user_id":`,
		`{"bot_id":"shop"}`,
		`{"user_id":"carl","custom_vars":7}`,
		`[]`,
		`{"user_id":"dora"}`,
	)
	a.want(t, 200, `{"imported":3,"failed":5,"errors":[`+
		`{"line":4,"error":"Module with this id does not exist","code":"unknown_module"},`+
		`{"line":5,"error":"The body is not a valid JSON object: unexpected end: want a value at byte 11","code":"invalid_json"},`+
		`{"line":6,"error":"user_id is mandatory","code":"missing_field"},`+
		`{"line":7,"error":"custom_vars must be an object","code":"invalid_field"},`+
		`{"line":8,"error":"The body is not a valid JSON object: want an object at byte 0","code":"invalid_json"}]}`)
	var got []string
	for _, l := range w.appender.all() {
		got = append(got, l.line)
	}
	if w.appender.bulk != 3 {
		t.Errorf("%d of them in bulk: the others stand in front of triggers", w.appender.bulk)
	}
	slices.Sort(got)
	want := []string{
		`{"type":"register","account":"demo","user":"alice","module":21890,"bot":"shop"}`,
		`{"type":"register","account":"demo","user":"bob","vars":{"a":1}}`,
		`{"type":"register","account":"demo","user":"dora"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("appended %q", got)
	}
}

func TestImportOfNothing(t *testing.T) {
	for _, body := range []string{"\n", "\n\n \n"} {
		newWorld(t, nil).importLines(body).want(t, 200, `{"imported":0,"failed":0,"errors":[]}`)
	}
}

func TestImportRefuses(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.do(http.MethodPost, "/v1/users", `{}`); a.status != 415 {
		t.Errorf("application/json: %d %s", a.status, a.body)
	}
	if a := w.do(http.MethodPost, "/v1/users", `{}`, "Content-Type", "application/x-ndjson", "Content-Encoding", "gzip"); a.status != 415 {
		t.Errorf("gzip: %d %s", a.status, a.body)
	}
}

// TestImportKeepsOrder shows that lines of one user arrive in their order, however many are on their way.
func TestImportKeepsOrder(t *testing.T) {
	w := newWorld(t, nil)
	var lines []string
	for i := range 2000 {
		lines = append(lines, fmt.Sprintf(`{"user_id":"u%d","custom_vars":{"n":%d}}`, i%7, i))
	}
	w.importLines(lines...).want(t, 200, `{"imported":2000,"failed":0,"errors":[]}`)
	last := map[string]int{}
	for _, l := range w.appender.all() {
		var rec struct {
			User string
			Vars struct{ N int }
		}
		if err := json.Unmarshal([]byte(l.line), &rec); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[rec.User]; ok && rec.Vars.N <= before {
			t.Fatalf("user %s: %d after %d", rec.User, rec.Vars.N, before)
		}
		last[rec.User] = rec.Vars.N
	}
}

// TestImportInParallel shows that as many lines are on their way together as may be: all of them enter before any is let
// go, although another user's lines come first.
func TestImportInParallel(t *testing.T) {
	const parallel, lines = 50, 200
	w := newWorld(t, func(c *Config) { c.ImportParallel = parallel })
	w.appender.entered, w.appender.release = make(chan struct{}), make(chan struct{})
	body := []string{`{"user_id":"u0"}`}
	for i := range lines - 1 {
		body = append(body, fmt.Sprintf(`{"user_id":"u%d"}`, i))
	}
	var done sync.WaitGroup
	done.Go(func() { w.importLines(body...).want(t, 200, `{"imported":200,"failed":0,"errors":[]}`) })
	for range parallel - 1 { // the second line waits behind the first
		<-w.appender.entered
	}
	close(w.appender.release)
	for range lines - (parallel - 1) {
		<-w.appender.entered
	}
	done.Wait()
}

func TestImportCapsErrors(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ImportErrors = 3 })
	a := w.importLines(strings.Split(strings.Repeat("x\n", 5000), "\n")...)
	var got importView
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Failed != 5000 || len(got.Errors) != 3 {
		t.Errorf("%d failed, %d listed, %v", got.Failed, len(got.Errors), err)
	}
}

// TestImportLineOverLimit shows that a line of any length costs its limit in memory, and the lines after it nothing.
func TestImportLineOverLimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxBody = 1000 })
	exact := `{"user_id":"alice","x":"` + strings.Repeat("x", 1000-26) + `"}`
	a := w.importLines(exact, exact+" ", strings.Repeat("x", 1<<20), `{"user_id":"bob"}`, strings.Repeat("x", 1001))
	a.want(t, 200, `{"imported":2,"failed":3,"errors":[`+
		`{"line":2,"error":"The line is over the limit","code":"body_too_large"},`+
		`{"line":3,"error":"The line is over the limit","code":"body_too_large"},`+
		`{"line":5,"error":"The line is over the limit","code":"body_too_large"}]}`)
}

// TestImportStops shows that an import does not run against a log that takes nothing: it says where it stopped.
func TestImportStops(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ImportParallel = 1 })
	w.appender.err = appender.ErrUnavailable
	a := w.importLines(strings.Split(strings.Repeat(`{"user_id":"alice"}`+"\n", 5000), "\n")...)
	var got importView
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Imported != 0 || got.Failed > 10 {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	last := got.Errors[len(got.Errors)-1]
	if last.Code != "unavailable" || last.Error != "The import stopped: lines from here on were not read" || last.Line != got.Failed {
		t.Errorf("last error %+v of %d", last, got.Failed)
	}
}

// TestImportCutOff shows that what arrived before a body broke off is counted, since it is durable.
func TestImportCutOff(t *testing.T) {
	w := newWorld(t, nil)
	r := httpRequest(http.MethodPost, "/v1/users", "", "Content-Type", "application/x-ndjson")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{\"user_id\":\"alice\"}\n{\"user_"), iotest.ErrReader(errors.New("cut"))))
	answerOf(w, r).want(t, 200, `{"imported":1,"failed":1,"errors":[{"line":2,"error":"The body was cut off or came too slowly","code":"invalid_json"}]}`)
}
