package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/triggerd/triggerd/ingress/internal/admission"
)

const someTrigger = `{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"paid":49.90}}`

// printOf is the fingerprint of a body.
func printOf(t *testing.T, body string) string {
	t.Helper()
	d := &decoder{maxVars: DefaultMaxVars}
	req, err := d.trigger([]byte(body), true)
	if err != nil {
		t.Fatal(err)
	}
	return new(printer).print(req)
}

// TestNewKey shows the record that a key makes.
func TestNewKey(t *testing.T) {
	w := newWorld(t, nil)
	a := w.do(http.MethodPost, triggerPath, someTrigger, "Idempotency-Key", `"order-17"`)
	a.want(t, 200, `{"message":"1","error":[],"trigger_id":"2-10482-3","redirect":true}`)
	if a.header.Get("Idempotency-Replayed") != "" {
		t.Error("said to be replayed")
	}
	want := `{"type":"trigger","key":"\"order-17\"","print":"` + printOf(t, someTrigger) + `","account":"demo","user":"alice"`
	if got := w.appender.all(); len(got) != 1 || !strings.HasPrefix(got[0].line, want) {
		t.Errorf("appended %+v, want %s…", got, want)
	}
}

// TestKnownKey shows what a key that is known makes of a request. It is judged before the user and the Module are.
func TestKnownKey(t *testing.T) {
	mismatch := `{"error":"The Idempotency-Key is known with another request","message":null,"code":"idempotency_mismatch"}`
	for _, c := range []struct {
		name, body string
		prior      admission.Prior
		status     int
		want       string
		result     keyResult
	}{
		{"same", someTrigger, admission.Prior{TriggerID: "2-7-0", Print: printOf(t, someTrigger), Final: true},
			200, `{"message":"1","error":[],"trigger_id":"2-7-0","redirect":true}`, keyReplayed},
		{"other", someTrigger, admission.Prior{TriggerID: "2-7-0", Print: "other", Final: true}, 422, mismatch, keyMismatch},
		{"same, of a user who is gone", `{"user_id":"nobody","module_id":null}`, admission.Prior{TriggerID: "2-7-0", Print: printOf(t, `{"user_id":"nobody","module_id":null}`)},
			200, `{"message":"1","error":[],"trigger_id":"2-7-0","redirect":false}`, keyReplayed},
		{"other, of a Module that is gone", `{"user_id":"alice","module_id":1}`, admission.Prior{TriggerID: "2-7-0", Print: "other"}, 422, mismatch, keyMismatch},
		{"no room", someTrigger, admission.Prior{NoRoom: true, Final: true},
			429, `{"error":"No more keys can be remembered at the moment; send it later, or without a key","message":null,"code":"key_budget"}`, keyNoRoom},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.users.priors = map[string]admission.Prior{"demo/alice/k": c.prior, "demo/nobody/k": c.prior}
			a := w.do(http.MethodPost, triggerPath, c.body, "Idempotency-Key", "k")
			a.want(t, c.status, c.want)
			if replayed := a.header.Get("Idempotency-Replayed"); (replayed == "true") != (c.status == 200) {
				t.Errorf("Idempotency-Replayed is %q", replayed)
			}
			if n := len(w.appender.all()); n != 0 {
				t.Errorf("%d records appended", n)
			}
			if testutil.ToFloat64(w.api.metrics.keys[c.result]) != 1 {
				t.Errorf("not counted as %s", keyResultNames[c.result])
			}
		})
	}
}

// TestUnverifiedKey shows that accepting does not depend on somebody who knows keys.
func TestUnverifiedKey(t *testing.T) {
	w := newWorld(t, nil)
	w.users.priors = map[string]admission.Prior{"demo/alice/k": {}}
	if a := w.do(http.MethodPost, triggerPath, someTrigger, "Idempotency-Key", "k"); a.status != 200 || len(w.appender.all()) != 1 {
		t.Errorf("answer %d %s", a.status, a.body)
	}
	if testutil.ToFloat64(w.api.metrics.keys[keyUnverified]) != 1 {
		t.Error("not counted")
	}
}

func TestMalformedKey(t *testing.T) {
	const want = `{"error":"Idempotency-Key must be 1 to 255 visible ASCII characters, once","message":null,"code":"invalid_field"}`
	for _, keys := range [][]string{{""}, {"a b"}, {"é"}, {"a\tb"}, {strings.Repeat("k", 256)}, {"a", "a"}} {
		w := newWorld(t, nil)
		r := httpRequest(http.MethodPost, triggerPath, someTrigger)
		r.Header["Idempotency-Key"] = keys
		answerOf(w, r).want(t, 400, want)
		if len(w.appender.all()) != 0 {
			t.Errorf("%q: appended", keys)
		}
	}
	w := newWorld(t, nil)
	if a := w.do(http.MethodPost, triggerPath, someTrigger, "Idempotency-Key", strings.Repeat("~", 255)); a.status != 200 {
		t.Errorf("the longest key: %d %s", a.status, a.body)
	}
	// What is wrong with the body is said first.
	r := httpRequest(http.MethodPost, triggerPath, `{"user_id":"alice"}`, "Idempotency-Key", "a b")
	if a := answerOf(w, r); !strings.Contains(a.body, "missing_field") {
		t.Errorf("answer %s", a.body)
	}
}

// TestBatchWithKeys shows keys of items. A refusal that may pass holds the user's later items, as any of that kind does.
func TestBatchWithKeys(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.BatchParallel = 1 })
	w.users.priors = map[string]admission.Prior{
		"demo/alice/known": {TriggerID: "2-7-0", Print: printOf(t, `{"user_id":"alice","module_id":null}`)},
		"demo/alice/other": {TriggerID: "2-8-0", Print: "other"},
		"demo/carl/full":   {NoRoom: true},
	}
	const malformed = `{"status":400,"error":"idempotency_key must be a string of 1 to 255 visible ASCII characters","message":null,"code":"invalid_field"}`
	w.batch(
		`{"user_id":"alice","module_id":null,"idempotency_key":"known"}`,
		`{"user_id":"alice","module_id":null,"idempotency_key":"other"}`,
		`{"user_id":"alice","module_id":null,"idempotency_key":"new"}`,
		`{"user_id":"alice","module_id":null,"idempotency_key":""}`,
		`{"user_id":"alice","module_id":null,"idempotency_key":7}`,
		`{"user_id":"alice","module_id":null,"idempotency_key":null}`,
		`{"user_id":"carl","module_id":null,"idempotency_key":"full"}`,
		`{"user_id":"carl","module_id":null}`,
	).want(t, 200, `[{"status":200,"message":"1","error":[],"trigger_id":"2-7-0","redirect":false,"replayed":true},`+
		`{"status":422,"error":"The Idempotency-Key is known with another request","message":null,"code":"idempotency_mismatch"},`+
		`{"status":200,"message":"1","error":[],"trigger_id":"2-10482-3","redirect":false},`+
		malformed+`,`+malformed+`,`+malformed+`,`+
		`{"status":429,"error":"No more keys can be remembered at the moment; send it later, or without a key","message":null,"code":"key_budget"},`+
		`{"status":503,"error":"Nothing was stored, since an earlier item of this user was not; try again","message":null,"code":"unavailable"}]`)
	a := answerOf(w, httpRequest(http.MethodPost, "/actionsvc/trigger-response/batch/", "["+someTrigger+"]", "Idempotency-Key", "k"))
	a.want(t, 400, `{"error":"A batch has no Idempotency-Key: give each item its own idempotency_key","message":null,"code":"invalid_field"}`)
}

// TestFingerprint says which requests are the same.
func TestFingerprint(t *testing.T) {
	const base = `{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2}}`
	want := printOf(t, base)
	// The bytes are in logs: while a key is remembered its request must go on meaning the same.
	if golden := "1Tf2ljPibA8yyhu6P"; want != golden {
		t.Errorf("the fingerprint is %s, the promise is %s", want, golden)
	}
	for _, same := range []string{
		` { "custom_vars" : { "b" : 2 , "a" : { "y" : null , "x" : [ 1 , "\u00e9" ] } } , "wait_time":1,"is_async":true,"module_id":5,"user_id":"alice"}`,
		`{"user_id":"alice","module_id":"5","is_async":true,"wait_time":1.0,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2},"else":7}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1,"custom_vars":{"b":3,"a":{"x":[1,"é"],"y":null},"b":2}}`,
	} {
		if printOf(t, same) != want {
			t.Errorf("another request: %s", same)
		}
	}
	for _, other := range []string{
		`{"user_id":"alice","module_id":6,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2}}`,
		`{"user_id":"alice","module_id":null,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2}}`,
		`{"user_id":"alice","module_id":5,"is_async":false,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":2,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":["é",1],"y":null},"b":2}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":2.0}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"],"y":null},"b":"2"}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1,"custom_vars":{"a":{"x":[1,"é"]},"y":null,"b":2}}`,
		`{"user_id":"alice","module_id":5,"is_async":true,"wait_time":1}`,
	} {
		if printOf(t, other) == want {
			t.Errorf("the same request: %s", other)
		}
	}
	if printOf(t, `{"user_id":"alice","module_id":5,"is_async":true,"wait_time":0}`) == printOf(t, `{"user_id":"alice","module_id":5,"is_async":true}`) {
		t.Error("a wait of 0 is the default, which may change")
	}
}

// TestFingerprintInOrder shows that a printer may be used again, and that nested objects do not mix.
func TestFingerprintInOrder(t *testing.T) {
	p := new(printer)
	bodies := []string{
		`{"user_id":"alice","module_id":5,"custom_vars":{"z":{"y":{"b":1,"a":2},"x":[{"d":3,"c":4}]},"a":{"f":{},"e":5}}}`,
		`{"user_id":"alice","module_id":5,"custom_vars":{"a":{"e":5,"f":{}},"z":{"x":[{"c":4,"d":3}],"y":{"a":2,"b":1}}}}`,
	}
	var prints []string
	for _, body := range append(bodies, bodies...) {
		d := &decoder{maxVars: DefaultMaxVars}
		req, err := d.trigger([]byte(body), true)
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, p.print(req))
		if got := string(req.vars[0].Name); got != body[len(`{"user_id":"alice","module_id":5,"custom_vars":{"`):][:1] {
			t.Errorf("the request's variables are in another order now: %s is first", got)
		}
	}
	for _, got := range prints {
		if got != prints[0] || got != printOf(t, bodies[0]) {
			t.Errorf("fingerprints are %q", prints)
		}
	}
}
