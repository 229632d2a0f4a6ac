package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/shared/record"
)

var someReceipt = record.Receipt{Partition: 2, Writer: "w0123456789abc", Number: 17, Index: 4}

// failureRows is the failure table of the contract. Status, headers and bytes are what clients in the
// field were written against; a change here breaks them.
var failureRows = []struct {
	name    string
	method  string // "" = POST
	path    string // "" = the trigger's
	body    string
	header  []string
	arrange func(*world)
	status  int
	headers string // besides Content-Type: application/json
	want    string
}{
	{
		name: "token missing", header: []string{"Authorization", ""},
		status: 400, want: `{"error":"Invalid API auth token","message":null,"code":"invalid_token"}`,
	},
	{
		name: "token bad", header: []string{"Authorization", "JWT nonsense"},
		status: 400, want: `{"error":"Invalid API auth token","message":null,"code":"invalid_token"}`,
	},
	{
		name: "token of another scope", header: []string{"Authorization", "JWT demo:runtime,admin"},
		status: 400, want: `{"error":"Invalid API auth token","message":null,"code":"invalid_token"}`,
	},
	{
		name: "not JSON by its type", header: []string{"Content-Type", "text/plain"},
		status: 415, want: `{"error":"Content-Type must be application/json","message":null,"code":"unsupported_media_type"}`,
	},
	{
		name: "compressed", header: []string{"Content-Encoding", "gzip"},
		status: 415, want: `{"error":"Content-Encoding is not supported: send the body as it is","message":null,"code":"unsupported_media_type"}`,
	},
	{
		name: "too large", body: `{"user_id":"` + strings.Repeat("x", DefaultMaxBody) + `"}`,
		status: 413, headers: "Connection: close", want: `{"error":"The body is over the limit","message":null,"code":"body_too_large"}`,
	},
	{
		name: "not JSON", body: `{"user_id":`,
		status: 400, want: `{"error":"The body is not a valid JSON object: unexpected end: want a value at byte 11","message":null,"code":"invalid_json"}`,
	},
	{
		name: "not an object", body: `[]`,
		status: 400, want: `{"error":"The body is not a valid JSON object: want an object at byte 0","message":null,"code":"invalid_json"}`,
	},
	{
		name: "field twice", body: `{"user_id":"alice","module_id":1,"user_id":"bob"}`,
		status: 400, want: `{"error":"The body is not a valid JSON object: user_id: a field is given twice","message":null,"code":"invalid_json"}`,
	},
	{
		name: "too deep", body: `{"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
		status: 400, want: `{"error":"The body is not a valid JSON object: nesting over 32 levels at byte 36","message":null,"code":"invalid_json"}`,
	},
	{
		name: "user_id absent", body: `{"module_id":1}`,
		status: 400, want: `{"error":"user_id and module_id are mandatory","message":null,"code":"missing_field"}`,
	},
	{
		name: "user_id null", body: `{"user_id":null,"module_id":1}`,
		status: 400, want: `{"error":"user_id and module_id are mandatory","message":null,"code":"missing_field"}`,
	},
	{
		name: "user_id empty", body: `{"user_id":"","module_id":1}`,
		status: 400, want: `{"error":"user_id and module_id are mandatory","message":null,"code":"missing_field"}`,
	},
	{
		name: "module_id absent", body: `{"user_id":"alice"}`,
		status: 400, want: `{"error":"user_id and module_id are mandatory","message":null,"code":"missing_field"}`,
	},
	{
		name: "wrong type of user_id", body: `{"user_id":17,"module_id":1}`,
		status: 400, want: `{"error":"user_id must be a string of 1 to 256 bytes without control characters","message":null,"code":"invalid_field"}`,
	},
	{
		name: "wrong type of module_id", body: `{"user_id":"alice","module_id":1.5}`,
		status: 400, want: `{"error":"module_id must be an integer, a numeric string or null","message":null,"code":"invalid_field"}`,
	},
	{
		name: "wrong type of custom_vars", body: `{"user_id":"alice","module_id":null,"custom_vars":[]}`,
		status: 400, want: `{"error":"custom_vars must be an object","message":null,"code":"invalid_field"}`,
	},
	{
		name: "bad variable name", body: `{"user_id":"alice","module_id":null,"custom_vars":{"1a":1}}`,
		status: 400, want: `{"error":"custom_vars: a name must start with a letter, go on with letters, digits, _ and -, and have at most 64 bytes","message":null,"code":"invalid_field"}`,
	},
	{
		name: "bad wait_time", body: `{"user_id":"alice","module_id":null,"wait_time":-1}`,
		status: 400, want: `{"error":"wait_time must be a number of seconds from 0 to 2592000","message":null,"code":"invalid_field"}`,
	},
	{
		name: "too many variables", body: `{"user_id":"alice","module_id":null,"custom_vars":{` + manyVars(257) + `}}`,
		status: 400, want: `{"error":"custom_vars must not have over 256 variables","message":null,"code":"invalid_field"}`,
	},
	{
		name: "unknown user", body: `{"user_id":"nobody","module_id":404}`,
		status: 400, want: `{"error":"Bot user with this id does not exist","message":null,"code":"unknown_user"}`,
	},
	{
		name: "unknown module", body: `{"user_id":"alice","module_id":404}`,
		status: 400, want: `{"error":"Module with this id does not exist","message":null,"code":"unknown_module"}`,
	},
	{
		name: "log full, broker away, queue full, draining", arrange: func(w *world) { w.appender.err = fmt.Errorf("append: %w", appender.ErrUnavailable) },
		status: 503, headers: "Retry-After: 1",
		want: `{"error":"Not available at the moment, nothing was stored; try again","message":null,"code":"unavailable"}`,
	},
	{
		name: "modules cannot be read", arrange: func(w *world) { w.directory.err = errFake },
		status: 503, headers: "Retry-After: 1",
		want: `{"error":"Not available at the moment, nothing was stored; try again","message":null,"code":"unavailable"}`,
	},
	{
		name: "append not confirmed", arrange: func(w *world) { w.appender.err = &appender.UnknownError{Receipt: someReceipt} },
		status: 503, headers: "Retry-After: 1",
		want: `{"error":"Not confirmed in time and perhaps stored; ask for the receipt, or repeat with the same Idempotency-Key","message":null,"code":"unknown_outcome","receipt":"r-2-w0123456789abc-17-4"}`,
	},
	{
		name: "other path", path: "/actionsvc/trigger-responses/",
		status: 404, want: `{"error":"There is nothing here","message":null,"code":"not_found"}`,
	},
	{
		name: "path of nobody", path: "/", method: http.MethodGet,
		status: 404, want: `{"error":"There is nothing here","message":null,"code":"not_found"}`,
	},
	{
		name: "other method", method: http.MethodGet,
		status: 405, headers: "Allow: OPTIONS, POST", want: `{"error":"This method is not allowed here","message":null,"code":"method_not_allowed"}`,
	},
	{
		name: "our own fault", arrange: func(w *world) { w.appender.err = errFake },
		status: 500, want: `{"error":"Internal error","message":null,"code":"internal"}`,
	},
}

const goodTrigger = `{"user_id":"alice","module_id":1068935}`

func manyVars(n int) string {
	vars := make([]string, n)
	for i := range vars {
		vars[i] = fmt.Sprintf(`"v%d":%d`, i, i)
	}
	return strings.Join(vars, ",")
}

func TestFailures(t *testing.T) {
	for _, row := range failureRows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, nil)
			if row.arrange != nil {
				row.arrange(w)
			}
			a := w.do(or(row.method, http.MethodPost), or(row.path, triggerPath), or(row.body, goodTrigger), row.header...)
			a.want(t, row.status, row.want)
			if got, want := headersOf(a), withHeader("Content-Type: application/json", row.headers); !slices.Equal(got, want) {
				t.Errorf("headers %q, want %q", got, want)
			}
			if lines := w.appender.all(); len(lines) != 0 {
				t.Errorf("appended %+v", lines)
			}
		})
	}
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func headersOf(a answer) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		lines = append(lines, name+": "+strings.Join(a.header[name], "; "))
	}
	return lines
}

func withHeader(line, more string) []string {
	lines := []string{line}
	if more != "" {
		lines = append(lines, more)
	}
	slices.Sort(lines)
	return lines
}

// TestOrderOfChecks sends requests with two faults: the one that is earlier in the table is answered.
func TestOrderOfChecks(t *testing.T) {
	huge := strings.Repeat("x", DefaultMaxBody+1)
	for _, tc := range []struct {
		name, body string
		header     []string
		code       string
	}{
		{"token before type", "x", []string{"Authorization", "", "Content-Type", "text/plain"}, "invalid_token"},
		{"type before size", huge, []string{"Content-Type", "text/plain"}, "unsupported_media_type"},
		{"size before JSON", huge, nil, "body_too_large"},
		{"JSON before missing", `{} x`, nil, "invalid_json"},
		{"JSON before field", `{"user_id":1,"module_id":true,"wait_time":-1}}`, nil, "invalid_json"},
		{"twice before field", `{"user_id":1,"module_id":true,"module_id":1}`, nil, "invalid_json"},
		{"missing before field", `{"user_id":17,"wait_time":-1}`, nil, "missing_field"},
		{"missing user before field", `{"module_id":true}`, nil, "missing_field"},
		{"field before user", `{"user_id":"nobody","module_id":404,"wait_time":"x"}`, nil, "invalid_field"},
		{"user before module", `{"user_id":"nobody","module_id":404}`, nil, "unknown_user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.appender.err = appender.ErrUnavailable
			a := w.do(http.MethodPost, triggerPath, tc.body, tc.header...)
			if !strings.Contains(a.body, `"code":"`+tc.code+`"`) {
				t.Errorf("answer %d %s, want %s", a.status, a.body, tc.code)
			}
		})
	}
}

// TestProblems holds the other surface: the same failures with the usual statuses, as RFC 9457 has them.
func TestProblems(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		arrange                  func(*world)
		status                   int
		headers, want            string
	}{
		{
			name: "no token", method: "GET", path: "/v1/users/alice", header: []string{"Authorization", ""}, status: 401, headers: "Www-Authenticate: Bearer",
			want: `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Invalid API auth token","code":"invalid_token"}`,
		},
		{
			name: "scope", method: "GET", path: "/v1/users/alice", header: []string{"Authorization", "JWT demo:trigger"}, status: 403,
			want: `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The token's scope does not cover this call","code":"forbidden"}`,
		},
		{
			name: "dead letters are for admins", method: "GET", path: "/v1/deadletters", header: []string{"Authorization", "JWT demo:trigger,runtime"}, status: 403,
			want: `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The token's scope does not cover this call","code":"forbidden"}`,
		},
		{
			name: "owner silent", method: "GET", path: "/v1/users/alice", status: 503, headers: "Retry-After: 1",
			want: `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The state cannot be read at the moment; try again","code":"unavailable"}`,
		},
		{
			name: "unknown outcome", method: "PUT", path: "/v1/users/alice", body: `{}`, status: 503, headers: "Retry-After: 1",
			arrange: func(w *world) { w.appender.err = &appender.UnknownError{Receipt: someReceipt} },
			want:    `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Not confirmed in time and perhaps stored; ask for the receipt, or repeat with the same Idempotency-Key","code":"unknown_outcome","receipt":"r-2-w0123456789abc-17-4"}`,
		},
		{
			name: "unknown module", method: "PUT", path: "/v1/users/alice", body: `{"module_id":404}`, status: 400,
			want: `{"type":"about:blank","title":"Bad Request","status":400,"detail":"Module with this id does not exist","code":"unknown_module"}`,
		},
		{
			name: "no such path", method: "GET", path: "/v1/nothing", status: 404,
			want: `{"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing here","code":"not_found"}`,
		},
		{
			name: "root of the surface", method: "GET", path: "/v1", status: 404,
			want: `{"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing here","code":"not_found"}`,
		},
		{
			name: "method", method: "POST", path: "/v1/users/alice", status: 405, headers: "Allow: DELETE, GET, HEAD, OPTIONS, PUT",
			want: `{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"This method is not allowed here","code":"method_not_allowed"}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			if tc.arrange != nil {
				tc.arrange(w)
			}
			a := w.do(tc.method, tc.path, tc.body, tc.header...)
			a.want(t, tc.status, tc.want)
			if got, want := headersOf(a), withHeader("Content-Type: application/problem+json", tc.headers); !slices.Equal(got, want) {
				t.Errorf("headers %q, want %q", got, want)
			}
		})
	}
}

// TestPrefixOfV1 shows that a path that merely begins like the surface of /v1 is not on it.
func TestPrefixOfV1(t *testing.T) {
	newWorld(t, nil).do(http.MethodGet, "/v1beta", "").
		want(t, 404, `{"error":"There is nothing here","message":null,"code":"not_found"}`)
}

func TestMethods(t *testing.T) {
	w := newWorld(t, nil)
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"OPTIONS", triggerPath, 204, "OPTIONS, POST"},
		{"OPTIONS", "/v1/users/alice", 204, "DELETE, GET, HEAD, OPTIONS, PUT"},
		{"OPTIONS", "/v1/nothing", 404, ""},
		{"HEAD", "/healthz", 200, ""},
		{"HEAD", "/nothing", 404, ""},
		{"HEAD", triggerPath, 405, "OPTIONS, POST"},
		{"PATCH", "/v1/bots/shop/modules", 405, "GET, HEAD, OPTIONS, PUT"},
		{"TRACE", "/healthz", 405, "GET, HEAD, OPTIONS"},
		{"BREW", "/v1/users", 405, "OPTIONS, POST"},
	} {
		a := answerOf(w, httpRequest(tc.method, tc.path, ""))
		if a.status != tc.status || a.header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", tc.method, tc.path, a.status, a.header.Get("Allow"), tc.status, tc.allow)
		}
	}
}

// TestPanic shows that a request that panics is answered, and costs nobody else anything.
func TestPanic(t *testing.T) {
	w := newWorld(t, nil)
	w.api.deps.Users = nil
	w.do(http.MethodPost, triggerPath, goodTrigger).want(t, 500, `{"error":"Internal error","message":null,"code":"internal"}`)
}
