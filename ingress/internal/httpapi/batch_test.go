package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/record"
)

func (w *world) batch(items ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, "/actionsvc/trigger-response/batch/", "["+strings.Join(items, ",")+"]")
}

// TestBatch shows what stands at an item's place: nothing that is wrong with one harms another.
func TestBatch(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.BatchParallel = 1 }) // so that the fake's positions are in order
	w.batch(
		`{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"paid":49.90}}`,
		`{"user_id":"nobody","module_id":null}`,
		` {"user_id":"bob","module_id":null}`,
		`{"user_id":"bob"}`,
		`7`,
		`{"user_id":"bob","module_id":555}`,
		`{"user_id":"bob","module_id":null,"user_id":"eve"}`,
		`{"user_id":"bob","module_id":null,"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`,
		`{"user_id":"bob","module_id":null,"custom_vars":{"text":"`+strings.Repeat("x", DefaultMaxBody)+`"}}`,
	).want(t, 200, `[{"status":200,"message":"1","error":[],"trigger_id":"2-10482-3","redirect":true},`+
		`{"status":400,"error":"Bot user with this id does not exist","message":null,"code":"unknown_user"},`+
		`{"status":200,"message":"1","error":[],"trigger_id":"5-10483-3","redirect":false},`+
		`{"status":400,"error":"user_id and module_id are mandatory","message":null,"code":"missing_field"},`+
		`{"status":400,"error":"The item is not a valid JSON object: want an object at byte 0","message":null,"code":"invalid_json"},`+
		`{"status":400,"error":"Module with this id does not exist","message":null,"code":"unknown_module"},`+
		`{"status":400,"error":"The item is not a valid JSON object: user_id: a field is given twice","message":null,"code":"invalid_json"},`+
		`{"status":400,"error":"The item is not a valid JSON object: nesting over 32 levels at byte 69","message":null,"code":"invalid_json"},`+
		`{"status":413,"error":"The item is over the limit","message":null,"code":"body_too_large"}]`)
	if n := len(w.appender.all()); n != 2 {
		t.Errorf("%d records appended", n)
	}
	if w.appender.bulk != 0 {
		t.Errorf("%d of them behind everything else", w.appender.bulk)
	}
}

// TestBatchRefusedAsAWhole shows that a body which cannot be read to its end has no items.
func TestBatchRefusedAsAWhole(t *testing.T) {
	good := `{"user_id":"alice","module_id":null}`
	thousand := strings.Repeat(good+",", 1000)
	for _, test := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"an object", good, 400, `{"error":"The body is not a valid JSON array: want an array at byte 0","message":null,"code":"invalid_json"}`},
		{"cut off", "[" + good, 400, `{"error":"The body is not a valid JSON array: unexpected end: want a comma or a closing bracket at byte 37","message":null,"code":"invalid_json"}`},
		{"trailing", "[" + good + "] x", 400, `{"error":"The body is not a valid JSON array: trailing data after the value at byte 39","message":null,"code":"invalid_json"}`},
		{"bad item", "[" + good + `,{"a":tru}]`, 400, `{"error":"The body is not a valid JSON array: want true, false or null at byte 43","message":null,"code":"invalid_json"}`},
		{"a bomb", "[" + good + "," + strings.Repeat("[", 100_000), 400, `{"error":"The body is not a valid JSON array: nesting over 1000 levels at byte 1037","message":null,"code":"invalid_json"}`},
		{"no items", "[ ]", 400, `{"error":"A batch must have 1 to 1000 items","message":null,"code":"invalid_field"}`},
		{"too many", "[" + thousand + good + "]", 400, `{"error":"A batch must have 1 to 1000 items","message":null,"code":"invalid_field"}`},
		{"too large", "[" + strings.Repeat(" ", DefaultMaxBatchBody) + good + "]", 413, `{"error":"The body is over the limit","message":null,"code":"body_too_large"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.do(http.MethodPost, "/actionsvc/trigger-response/batch", test.body).want(t, test.status, test.want)
			if got := w.appender.all(); len(got) != 0 {
				t.Errorf("appended %d records", len(got))
			}
		})
	}
	w := newWorld(t, nil)
	if a := w.batch(strings.TrimSuffix(thousand, ",")); a.status != 200 || len(w.appender.all()) != 1000 {
		t.Errorf("1000 items: %d, %d appended", a.status, len(w.appender.all()))
	}
	if a := w.do(http.MethodPost, "/actionsvc/trigger-response/batch/", "[]", "Authorization", "JWT demo:runtime"); a.status != 400 || !strings.Contains(a.body, "invalid_token") {
		t.Errorf("another scope: %d %s", a.status, a.body)
	}
	if a := w.do(http.MethodPost, "/actionsvc/trigger-response/batch/", "[]", "Content-Type", "text/plain"); a.status != 415 {
		t.Errorf("text: %d %s", a.status, a.body)
	}
}

// TestBatchKeepsOrder shows that items of one user arrive in their order, however many are on their way.
func TestBatchKeepsOrder(t *testing.T) {
	w := newWorld(t, nil)
	var items []string
	for i := range 1000 {
		items = append(items, fmt.Sprintf(`{"user_id":"user-%d","module_id":null,"custom_vars":{"n":%d}}`, i%7, i))
	}
	if a := w.batch(items...); a.status != 200 {
		t.Fatal(a.body)
	}
	last := map[string]int{}
	for _, l := range w.appender.all() {
		var rec struct {
			User string `json:"user"`
			Vars struct {
				N int `json:"n"`
			} `json:"vars"`
		}
		if err := json.Unmarshal([]byte(l.line), &rec); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[rec.User]; ok && rec.Vars.N < before {
			t.Fatalf("%s: %d after %d", rec.User, rec.Vars.N, before)
		}
		last[rec.User] = rec.Vars.N
	}
}

// pickyAppender refuses one partition.
type pickyAppender struct {
	*fakeAppender
	partition int
	err       error
}

func (f *pickyAppender) Append(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	if p == f.partition {
		return record.Position{}, f.err
	}
	return f.fakeAppender.Append(ctx, p, account, line)
}

// TestBatchOfManyPartitions shows that a partition which takes nothing costs its own items alone, and that an item which may be sent again is not
// overtaken by a later one of its user.
func TestBatchOfManyPartitions(t *testing.T) {
	for name, err := range map[string]error{"unavailable": appender.ErrUnavailable, "unknown_outcome": &appender.UnknownError{Receipt: someReceipt}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.BatchParallel = 1 })
			w.api.deps.Appender = &pickyAppender{w.appender, 5, err} // bob's
			alice, bob := `{"user_id":"alice","module_id":null}`, `{"user_id":"bob","module_id":null}`
			a := w.batch(bob, alice, bob, alice)
			var got []struct {
				Status  int    `json:"status"`
				Code    string `json:"code"`
				Receipt string `json:"receipt"`
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got) != 4 {
				t.Fatal(err, a.body)
			}
			if got[0].Status != 503 || got[0].Code != name || (got[0].Receipt != "") != (name == "unknown_outcome") {
				t.Errorf("the first of bob's: %+v", got[0])
			}
			if got[2].Status != 503 || got[2].Code != "unavailable" {
				t.Errorf("the second of bob's, which must not be stored: %+v", got[2])
			}
			if got[1].Status != 200 || got[3].Status != 200 || len(w.appender.all()) != 2 {
				t.Errorf("alice's: %s, %d appended", a.body, len(w.appender.all()))
			}
		})
	}
}

// TestBatchesInHandAreBounded shows that a batch more than there may be is refused at once: their bodies are in memory.
func TestBatchesInHandAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Batches = 1 })
	w.appender.entered, w.appender.release = make(chan struct{}, 1), make(chan struct{})
	first := make(chan answer)
	go func() {
		first <- answerOf(w, httpRequest(http.MethodPost, "/actionsvc/trigger-response/batch/", `[{"user_id":"alice","module_id":null}]`))
	}()
	<-w.appender.entered
	if a := w.batch(`{"user_id":"bob","module_id":null}`); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a second one: %d %s", a.status, a.body)
	}
	close(w.appender.release)
	if a := <-first; a.status != 200 {
		t.Errorf("the first one: %d %s", a.status, a.body)
	}
	if a := w.batch(`{"user_id":"bob","module_id":null}`); a.status != 200 {
		t.Errorf("one after it: %d %s", a.status, a.body)
	}
}

// panickyAppender panics at its first call.
type panickyAppender struct {
	*fakeAppender
	done bool
}

func (f *panickyAppender) Append(ctx context.Context, p int, account string, line []byte) (record.Position, error) {
	if !f.done {
		f.done = true
		panic("first")
	}
	return f.fakeAppender.Append(ctx, p, account, line)
}

// TestBatchSurvivesAPanic: items run beside the request's own goroutine, where nobody else would catch it.
func TestBatchSurvivesAPanic(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.BatchParallel = 1 })
	w.api.deps.Appender = &panickyAppender{fakeAppender: w.appender}
	w.batch(`{"user_id":"alice","module_id":null}`, `{"user_id":"bob","module_id":null}`).want(t, 200,
		`[{"status":500,"error":"Internal error","message":null,"code":"internal"},`+
			`{"status":200,"message":"1","error":[],"trigger_id":"5-10482-3","redirect":false}]`)
}
