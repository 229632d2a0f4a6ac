package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
	"github.com/triggerd/triggerd/shared/natstest"
)

// limitTo gives every account a limit, by a clock that stands still.
func (w *world) limitTo(limit ratelimit.Limit) {
	w.t.Helper()
	l, err := ratelimit.New(ratelimit.Config{Default: limit}, ratelimit.Deps{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.api.deps.Limiter = l
}

const limitedEnvelope = `{"error":"More triggers than the account may send; try again later","message":null,"code":"rate_limited"}`

func wantHeaders(t *testing.T, a answer, policy, state, retryAfter string) {
	t.Helper()
	if got := a.header.Get("RateLimit-Policy"); got != policy {
		t.Errorf("RateLimit-Policy %q, want %q", got, policy)
	}
	if got := a.header.Get("RateLimit"); got != state {
		t.Errorf("RateLimit %q, want %q", got, state)
	}
	if got := a.header.Get("Retry-After"); got != retryAfter {
		t.Errorf("Retry-After %q, want %q", got, retryAfter)
	}
}

func TestRateLimit(t *testing.T) {
	w := newWorld(t, nil)
	w.limitTo(ratelimit.Limit{Rate: 0.2, Burst: 3})
	const policy = `"account";q=3;w=15`
	a := w.do(http.MethodPost, triggerPath, goodTrigger)
	if wantHeaders(t, a, policy, `"account";r=2;t=15`, ""); a.status != 200 {
		t.Error(a)
	}
	a = w.do(http.MethodPost, triggerPath, `{`) // what is refused counts as well
	if wantHeaders(t, a, policy, `"account";r=1;t=15`, ""); a.status != 400 {
		t.Error(a)
	}
	a = w.do(http.MethodPost, triggerPath, goodTrigger)
	wantHeaders(t, a, policy, `"account";r=0;t=5`, "")
	a = w.do(http.MethodPost, triggerPath, goodTrigger)
	a.want(t, 429, limitedEnvelope)
	wantHeaders(t, a, policy, `"account";r=0;t=5`, "5")
	// Right after the token: nothing else of the request is looked at, and a bad token costs nothing.
	w.do(http.MethodPost, triggerPath, "x", "Content-Type", "text/plain").want(t, 429, limitedEnvelope)
	a = w.do(http.MethodPost, triggerPath, goodTrigger, "Authorization", "JWT nonsense")
	if wantHeaders(t, a, "", "", ""); a.status != 400 {
		t.Error(a)
	}
	if a := w.do(http.MethodPost, triggerPath, `{"user_id":"x","module_id":null}`, "Authorization", "JWT other:trigger"); a.status != 200 {
		t.Errorf("another account: %d %s", a.status, a.body)
	}
	if a := w.do(http.MethodGet, "/v1/bots/shop/modules", ""); a.status != 200 || a.header.Get("RateLimit") != "" {
		t.Errorf("/v1 is not limited: %d %s", a.status, a.body)
	}
	if n := len(w.appender.all()); n != 3 {
		t.Errorf("%d appended", n)
	}
}

// A batch costs what it has: the last items are over the rate, so that none of a user overtakes another.
func TestBatchAgainstTheRate(t *testing.T) {
	w := newWorld(t, nil)
	w.limitTo(ratelimit.Limit{Rate: 1, Burst: 5})
	var items []string
	for i := range 8 {
		items = append(items, fmt.Sprintf(`{"user_id":"alice","module_id":null,"custom_vars":{"n":%d}}`, i))
	}
	items[1] = "7" // what is wrong costs the same
	a := w.batch(items...)
	wantHeaders(t, a, `"account";q=5;w=5`, `"account";r=0;t=1`, "")
	var got []struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatal(err, a)
	}
	var statuses []int
	for _, r := range got {
		statuses = append(statuses, r.Status)
	}
	if want := []int{200, 400, 200, 200, 200, 429, 429, 429}; !slices.Equal(statuses, want) || got[5].Code != "rate_limited" {
		t.Errorf("statuses %v, want %v", statuses, want)
	}
	if n := len(w.appender.all()); n != 4 {
		t.Errorf("%d appended", n)
	}
	a = w.batch(items...)
	a.want(t, 429, limitedEnvelope)
	wantHeaders(t, a, `"account";q=5;w=5`, `"account";r=0;t=1`, "1")

	w.limitTo(ratelimit.Limit{Rate: 1, Burst: 1}) // one item passes even then
	if a := w.batch(items[2:4]...); a.status != 200 || !strings.HasPrefix(a.body, `[{"status":200,`) || !strings.Contains(a.body, `{"status":429,`) {
		t.Errorf("answer %d %s", a.status, a.body)
	}
}

// Whatever several accounts take and give back: what is out is what they hold, none gets more than was left for the others, and one who has nothing gets something
// while anything is left.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.Int64Range(1, 50).Draw(t, "all")
		s, held := newShare(all), map[string]int64{}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				who, n := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "who"), rapid.Int64Range(1, 5).Draw(t, "n")
				free := s.free
				if got, want := s.take(who, n), held[who]+n <= free; got != want {
					t.Fatalf("%s has %d and takes %d of %d: %v", who, held[who], n, free, got)
				} else if got {
					held[who] += n
				}
			},
			"give back": func(t *rapid.T) {
				for who, n := range held {
					s.giveBack(who, n)
					delete(held, who)
					return
				}
			},
			"": func(t *rapid.T) {
				sum := int64(0)
				for _, n := range held {
					sum += n
				}
				if s.out(all) != float64(sum) || len(s.held) != len(held) {
					t.Fatalf("%g out, of %d accounts; held are %v", s.out(all), len(s.held), held)
				}
			},
		})
	})
}

func TestOneAloneHasHalf(t *testing.T) {
	s := newShare(100)
	n := 0
	for s.take("greedy", 1) {
		n++
	}
	for s.take("greedy too", 1) {
	}
	if n != 50 || s.held["greedy too"] != 25 || !s.take("quiet", 1) {
		t.Errorf("%d, %v", n, s.held)
	}
}

// An account that has as many requests in hand as it may is refused at once, and holds nobody else up.
func TestRequestsInHandAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxRequests = 4 })
	w.appender.entered, w.appender.release = make(chan struct{}, 10), make(chan struct{})
	answers := make(chan answer, 10)
	send := func(account, user string) {
		go func() {
			answers <- answerOf(w, httpRequest(http.MethodPost, triggerPath, `{"user_id":"`+user+`","module_id":null}`, "Authorization", "JWT "+account+":trigger"))
		}()
		<-w.appender.entered
	}
	send("demo", "a")
	send("demo", "b")
	a := w.do(http.MethodPost, triggerPath, goodTrigger)
	if a.status != 503 || !strings.Contains(a.body, `"unavailable"`) || a.header.Get("Retry-After") != "1" {
		t.Errorf("a third one: %d %s", a.status, a.body)
	}
	send("other", "c")
	if n := testutil.ToFloat64(w.api.metrics.overloads.WithLabelValues(limitRequests)); n != 1 {
		t.Errorf("%g counted", n)
	}
	close(w.appender.release)
	for range 3 {
		if a := <-answers; a.status != 200 {
			t.Errorf("answer %d %s", a.status, a.body)
		}
	}
	if a := w.do(http.MethodPost, triggerPath, goodTrigger); a.status != 200 || len(w.api.places.held) != 0 {
		t.Errorf("afterwards: %d %s, %v held", a.status, a.body, w.api.places.held)
	}
}

// Callers who send slowly hold no place for batches, no turn, and no memory for what they only announce.
func TestSlowBodiesHoldNeitherPlacesNorMemory(t *testing.T) {
	s := serve(t)
	for i := range 200 {
		path, length := batchPath+"/", DefaultMaxBatchBody
		if i%2 == 0 {
			path, length = triggerPath, 100
		}
		conn := s.dial()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: JWT demo:trigger\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n[", path, length)
	}
	natstest.Eventually(t, func() bool { return s.api.places.out(int64(s.api.cfg.MaxRequests)) == 200 }, "all are in hand")
	if s.api.bodies.out(s.api.cfg.MaxBodyBytes) != 0 || len(s.api.batches.held) != 0 {
		t.Errorf("%g bytes, batches of %v", s.api.bodies.out(s.api.cfg.MaxBodyBytes), s.api.batches.held)
	}
	body := `[{"user_id":"alice","module_id":null}]`
	wantStatus(t, s.raw("POST "+batchPath+"/ HTTP/1.1\r\nHost: x\r\nAuthorization: JWT demo:trigger\r\nContent-Type: application/json\r\nConnection: close\r\n"+sized(body)), 200)
	if n := s.api.turns.out(); n != 0 {
		t.Errorf("%d are at work", n)
	}
}

// Bodies that do not fit are refused in the middle, at once, and others go on.
func TestBodyBytesAreBounded(t *testing.T) {
	s := serveWith(t, func(c *Config) { c.MaxBodyBytes = 64 << 10 })
	slow := func(account string, size int) net.Conn {
		conn := s.dial()
		fmt.Fprintf(conn, "POST %s/ HTTP/1.1\r\nHost: x\r\nAuthorization: JWT %s:trigger\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", batchPath, account, 100<<10, strings.Repeat(" ", size))
		return conn
	}
	slow("demo", 20<<10) // takes 28 KiB, beside 4 KiB that are free
	natstest.Eventually(t, func() bool { return s.api.bodies.out(64<<10) == 28<<10 }, "the first one has its bytes")
	resp, err := http.ReadResponse(bufio.NewReader(slow("demo", 20<<10)), nil) // before the rest of the body
	if err != nil || resp.StatusCode != 503 || !resp.Close {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	body := "[" + strings.Repeat(" ", 10<<10) + `{"user_id":"alice","module_id":null}]`
	wantStatus(t, s.raw("POST "+batchPath+"/ HTTP/1.1\r\nHost: x\r\nAuthorization: JWT other:trigger\r\nContent-Type: application/json\r\nConnection: close\r\n"+sized(body)), 200)
	natstest.Eventually(t, func() bool { return s.api.bodies.out(64<<10) == 28<<10 }, "what was taken is given back")
}

// One connection too many is answered, and makes no room by itself; who leaves does.
func TestConnectionsAreBounded(t *testing.T) {
	s := serveWith(t, func(c *Config) { c.MaxConnections = 2 })
	first := s.dial()
	s.dial()
	natstest.Eventually(t, func() bool { return s.api.open.Load() == 2 }, "both are counted")
	answer, err := io.ReadAll(s.dial())
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, string(answer), 503)
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if want := string(fail(unavailable).envelope()); body != want || !strings.Contains(string(answer), fmt.Sprintf("Content-Length: %d\r\n", len(want))) {
		t.Errorf("answer %s", answer)
	}
	first.Close()
	natstest.Eventually(t, func() bool { return s.api.open.Load() == 1 }, "the place is free")
	wantStatus(t, s.raw("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200)
}

func TestImportsInHandAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Imports = 1 })
	end, err := w.api.admitImport("demo")
	if err != nil {
		t.Fatal(err)
	}
	if a := w.do(http.MethodPost, "/v1/users", `{"user_id":"a"}`, "Content-Type", "application/x-ndjson"); a.status != 503 {
		t.Errorf("a second one: %d %s", a.status, a.body)
	}
	end()
	if a := w.do(http.MethodPost, "/v1/users", `{"user_id":"a"}`, "Content-Type", "application/x-ndjson"); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// Whoever drains says so to load balancers, takes what still comes, and ends every connection with its next answer.
func TestDrain(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	io.WriteString(conn, head+sized(`{"user_id":"alice","module_id":null}`))
	first := make([]byte, 4<<10)
	n, err := conn.Read(first)
	if err != nil || strings.Contains(string(first[:n]), "Connection: close") {
		t.Fatalf("%q, %v", first[:n], err)
	}
	s.api.Drain()
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("idle connection: %q, %v", rest, err)
	}
	answer := s.raw(head + sized(`{"user_id":"alice","module_id":null}`)) // which reads to the end
	wantStatus(t, answer, 200)
	if !strings.Contains(answer, "Connection: close") {
		t.Errorf("answer %q", answer)
	}
	answer = s.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if wantStatus(t, answer, 503); !strings.HasSuffix(answer, "draining\n") {
		t.Errorf("answer %q", answer)
	}
}
