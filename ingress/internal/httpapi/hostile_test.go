package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// served is an API on a loopback port.
type served struct {
	*world
	addr string
}

func serve(t *testing.T) *served { return serveWith(t, nil) }

func serveWith(t *testing.T, change func(*Config)) *served {
	t.Helper()
	w := newWorld(t, change)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.api.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(w.api.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	return &served{w, ln.Addr().String()}
}

// patience is when a test gives up; nothing is measured with it.
const patience = 10 * time.Second

// dial opens a connection that ends with the test.
func (s *served) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// raw sends bytes and returns all that comes back until the server closes the connection.
func (s *served) raw(pieces ...string) string {
	s.t.Helper()
	conn := s.dial()
	for _, p := range pieces {
		if _, err := io.WriteString(conn, p); err != nil {
			break // the server has seen enough
		}
	}
	answer, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		s.t.Errorf("the server holds the connection; it said %.200q", answer)
	}
	return string(answer)
}

// head is the beginning of a good request, up to the headers that a test adds.
const head = "POST /actionsvc/trigger-response/ HTTP/1.1\r\nHost: x\r\nAuthorization: JWT demo:trigger\r\nContent-Type: application/json\r\n"

func sized(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

func wantStatus(t *testing.T, answer string, statuses ...int) {
	t.Helper()
	for _, status := range statuses {
		if strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			return
		}
	}
	t.Errorf("answer %.300q, want status %v", answer, statuses)
}

func wantNothingAppended(t *testing.T, s *served) {
	t.Helper()
	if got := s.appender.all(); len(got) != 0 {
		t.Errorf("appended %+v", got)
	}
}

func TestOversizeHeaders(t *testing.T) {
	s := serve(t)
	wantStatus(t, s.raw(head, "X-Large: "+strings.Repeat("x", 64<<10), "\r\n\r\n"), 431)
	wantNothingAppended(t, s)
}

// TestEndlessHeaders sends headers for as long as the server takes them.
func TestEndlessHeaders(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	io.WriteString(conn, head)
	sent, line := 0, strings.Repeat("X-More: yes\r\n", 100)
	for {
		n, err := io.WriteString(conn, line)
		if sent += n; err != nil {
			break
		}
	}
	if sent > 64<<20 { // far beyond what the buffers of the system hold
		t.Errorf("the server took %d bytes of headers", sent)
	}
}

func TestBodyCutOff(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	io.WriteString(conn, head+"Content-Length: 100\r\n\r\n{\"user_id\":")
	conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	if len(answer) > 0 {
		wantStatus(t, string(answer), 400)
	}
	wantNothingAppended(t, s)
}

// TestChunkedOverLimit shows that a body without a length is read to the limit and no further.
func TestChunkedOverLimit(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	io.WriteString(conn, head+"Transfer-Encoding: chunked\r\n\r\n")
	chunk := "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n"
	go func() {
		for {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 413 || !res.Close || !strings.Contains(string(body), "body_too_large") {
		t.Errorf("%d %v %s", res.StatusCode, res.Close, body)
	}
	conn.Close()
}

// TestAnnouncedOverLimit shows that nothing is read of a body that says that it is too large.
func TestAnnouncedOverLimit(t *testing.T) {
	s := serve(t)
	answer := s.raw(head + "Content-Length: 9223372036854775807\r\nExpect: 100-continue\r\n\r\n")
	wantStatus(t, answer, 413)
	wantStatus(t, s.raw(head+"Content-Length: 9223372036854775808\r\n\r\n"), 400)
}

func TestChunkedMalformed(t *testing.T) {
	s := serve(t)
	for _, body := range []string{"zz\r\nxx\r\n0\r\n\r\n", "-1\r\n\r\n", "fffffffffffffffff\r\nx", "2\r\n{}xxxx"} {
		wantStatus(t, s.raw(head+"Transfer-Encoding: chunked\r\n\r\n"+body), 400)
	}
	wantNothingAppended(t, s)
}

// TestSmuggling sends two lengths for one body. Whoever stands in front may have believed the other one, so what follows must
// not be taken for a request.
func TestSmuggling(t *testing.T) {
	s := serve(t)
	hidden := head + sized(`{"user_id":"smuggled","module_id":null}`)
	for _, headers := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   " + hidden,
		"Content-Length: 5, 6\r\n\r\n{}   " + hidden,
		"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
		"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"X-Folded: a\r\n  Content-Length: 5\r\nContent-Length : 3\r\n\r\n{}   " + hidden,
	} {
		answer := s.raw(head + headers)
		wantStatus(t, answer, 400, 501)
		for _, got := range s.appender.all() {
			t.Errorf("%.60q: appended %s", headers, got.line)
		}
	}
}

// TestPipelining shows that requests on one connection are answered in their order, each by itself.
func TestPipelining(t *testing.T) {
	s := serve(t)
	one := func(user string) string { return head + sized(`{"user_id":"`+user+`","module_id":null}`) }
	conn := s.dial()
	go io.WriteString(conn, one("alice")+one("nobody")+head+sized("{")+one("bob"))
	reader := bufio.NewReader(conn)
	for _, status := range []int{200, 400, 400, 200} {
		res, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("status %d, want %d", res.StatusCode, status)
		}
	}
	if got := s.appender.all(); len(got) != 2 || !strings.Contains(got[0].line, "alice") || !strings.Contains(got[1].line, "bob") {
		t.Errorf("appended %+v", got)
	}
}

// TestHostileBodies sends what breaks parsers: each is refused with a word, and the server stays.
func TestHostileBodies(t *testing.T) {
	s := serve(t)
	user := func(rest string) string { return `{"user_id":"alice","module_id":null` + rest + `}` }
	for _, tc := range []struct{ name, body, code string }{
		{"10 k deep arrays", user(`,"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)), "invalid_json"},
		{"10 k deep objects", user(`,"custom_vars":` + strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)), "invalid_json"},
		{"unclosed", strings.Repeat("[", 200_000), "invalid_json"},
		{"1e400 for a module", `{"user_id":"alice","module_id":1e400}`, "invalid_field"},
		{"-1e400 for a module", `{"user_id":"alice","module_id":-1e400}`, "invalid_field"},
		{"1e400 for a wait", user(`,"wait_time":1e400`), "invalid_field"},
		{"endless exponent", user(`,"wait_time":1e` + strings.Repeat("9", 100_000)), "invalid_field"},
		{"endless digits", `{"user_id":"alice","module_id":` + strings.Repeat("9", 100_000) + `}`, "invalid_field"},
		{"lone surrogate", user(`,"custom_vars":{"a":"\ud800"}`), "invalid_json"},
		{"lone surrogate in an id", `{"user_id":"\udc00","module_id":null}`, "invalid_json"},
		{"lone surrogate in an unknown field", user(`,"x":"\ud800x"`), "invalid_json"},
		{"duplicate", user(`,"user_id":"bob"`), "invalid_json"},
		{"escaped duplicate", user(`,"user\u005fid":"bob"`), "invalid_json"},
		{"NUL in an id", `{"user_id":"a\u0000b","module_id":null}`, "invalid_field"},
		{"line feed in an id", `{"user_id":"a\nb","module_id":null}`, "invalid_field"},
		{"C1 control in an id", `{"user_id":"a\u0085b","module_id":null}`, "invalid_field"},
		{"raw NUL", "{\"user_id\":\"a\x00b\",\"module_id\":null}", "invalid_json"},
		{"257 bytes of id", `{"user_id":"` + strings.Repeat("x", 257) + `","module_id":null}`, "invalid_field"},
		{"invalid UTF-8", "{\"user_id\":\"\xff\",\"module_id\":null}", "invalid_json"},
		{"overlong UTF-8", "{\"user_id\":\"\xc0\xaf\",\"module_id\":null}", "invalid_json"},
		{"UTF-16", "{\x00\"\x00}\x00", "invalid_json"},
		{"byte order mark", "\xef\xbb\xbf{}", "invalid_json"},
		{"trailing data", user("") + "{}", "invalid_json"},
		{"NaN", user(`,"wait_time":NaN`), "invalid_json"},
		{"hexadecimal", `{"user_id":"alice","module_id":0x10}`, "invalid_json"},
		{"leading zero", `{"user_id":"alice","module_id":010}`, "invalid_json"},
		{"100 k variables", user(`,"custom_vars":{` + strings.TrimSuffix(strings.Repeat(`"a":1,`, 40_000), ",") + `}`), "invalid_field"},
		{"empty body", "", "invalid_json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer := s.raw(head + "Connection: close\r\n" + sized(tc.body))
			wantStatus(t, answer, 400)
			if !strings.Contains(answer, `"code":"`+tc.code+`"`) {
				t.Errorf("answer %.300q, want %s", answer, tc.code)
			}
		})
	}
	wantNothingAppended(t, s)
}

func TestHostileRequestLines(t *testing.T) {
	s := serve(t)
	const end = " HTTP/1.1\r\nHost: x\r\nAuthorization: JWT demo:runtime\r\nConnection: close\r\n\r\n"
	for request, statuses := range map[string][]int{
		"GET /v1/users/a%00b" + end:                {400},
		"GET /v1/users/%zz" + end:                  {400},
		"GET /v1/users/" + end:                     {400, 404},
		"GET //v1/users/alice" + end:               {404},
		"GET /v1/%75sers/alice%2Fx" + end:          {404},
		"GET /V1/users/alice" + end:                {404},
		"GET /actionsvc/../v1/users/alice" + end:   {404},
		"GET http://elsewhere/healthz" + end:       {200, 400},
		"GET  /healthz" + end:                      {400, 404},
		"G\x00T /healthz" + end:                    {400},
		"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n": {505, 400},
		"GET /healthz HTTP/1.1\r\n\r\n":            {400}, // no Host
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nConnection: close\r\n\r\n": {404, 405},
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": {400, 404, 405, 505},
	} {
		wantStatus(t, s.raw(request), statuses...)
	}
}

// TestTwoTokens shows that of two identities none counts.
func TestTwoTokens(t *testing.T) {
	s := serve(t)
	wantStatus(t, s.raw(head+"Authorization: JWT other:trigger\r\nConnection: close\r\n"+sized(`{"user_id":"alice","module_id":null}`)), 400)
	wantNothingAppended(t, s)
}

// TestTokensInOtherPlaces shows that a token counts in its own header alone, not where logs, caches, proxies or other sites could put or see one.
func TestTokensInOtherPlaces(t *testing.T) {
	s := serve(t)
	const body = `{"user_id":"alice","module_id":null,"token":"demo:trigger","access_token":"demo:trigger"}`
	const token = "JWT demo:trigger"
	request := func(path, headers string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n" + headers + sized(body)
	}
	const path = "/actionsvc/trigger-response/"
	for name, r := range map[string]string{
		"nowhere":             request(path, ""),
		"query":               request(path+"?token=demo:trigger&access_token=demo:trigger&jwt=demo:trigger&Authorization=JWT%20demo:trigger", ""),
		"cookie":              request(path, "Cookie: token=demo:trigger; Authorization="+token+"\r\n"),
		"Proxy-Authorization": request(path, "Proxy-Authorization: "+token+"\r\n"),
		"X-Authorization":     request(path, "X-Authorization: "+token+"\r\nX-Forwarded-Authorization: "+token+"\r\nX-Access-Token: demo:trigger\r\n"),
		"other scheme":        request(path, "Authorization: Basic "+token+"\r\n"),
		"no scheme":           request(path, "Authorization: demo:trigger\r\n"),
		"user of the URL":     request("http://demo:trigger@x"+path, ""),
		"empty and then good": request(path, "Authorization:\r\nAuthorization: "+token+"\r\n"),
		"underscore":          request(path, "Authorization_: "+token+"\r\n"),
		"trailer":             "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\nAuthorization: %s\r\n\r\n", len(body), body, token),
		"Sec-WebSocket":       request(path, "Sec-WebSocket-Protocol: "+token+"\r\n"),
		"method override":     request(path, "X-HTTP-Method-Override: GET\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			answer := s.raw(r)
			wantStatus(t, answer, 400)
			if !strings.Contains(answer, `"invalid_token"`) {
				t.Errorf("answer %.300q", answer)
			}
		})
	}
	wantNothingAppended(t, s)
}

// TestFlatMemory sends a hundred times what breaks parsers and looks at what is left.
func TestFlatMemory(t *testing.T) {
	s := serve(t)
	deep := head + "Connection: close\r\n" + sized(`{"x":`+strings.Repeat("[", 200_000))
	s.raw(deep)
	before := heap()
	for range 100 {
		s.raw(deep)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
