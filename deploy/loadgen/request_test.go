package loadgen

import (
	"strconv"
	"testing"
)

func TestRequestIsRendered(t *testing.T) {
	one := func(user, more, seq string) string {
		return `{"user_id":"load-abc-` + user + more + `","module_id":1,"is_async":true,"custom_vars":{"seq":` + seq + `,"pad0":"xxx","pad1":"xxx"}}`
	}
	for _, c := range []struct {
		path, header, body string
		batch              bool
		items              []item
	}{
		{"", "", one("00000042", "", "1000000007"), false, []item{{42, 7, false}}},
		{"", "Idempotency-Key: load-abc-99999999.12\r\n", one("99999999", "", "1000000012"), false, []item{{99_999_999, 12, true}}},
		{"batch/", "", "[" + one("00000042", "", "1000000007") + "," + one("00000000", `","idempotency_key":"load-abc-00000000.3`, "1000000003") + "]", true,
			[]item{{42, 7, false}, {0, 3, true}}},
	} {
		r := newRequest("token", "load-abc", 2, 3, c.batch)
		want := "POST /actionsvc/trigger-response/" + c.path + " HTTP/1.1\r\nHost: host:1\r\nAuthorization: JWT token\r\n" + c.header +
			"Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(c.body)) + "\r\n\r\n" + c.body
		r.render("another", []item{{1, 1, true}})
		if got := string(r.render("host:1", c.items)); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestFieldsAreFound(t *testing.T) {
	body := []byte(`{"status":503,"error":"code: \"x\"","code":"unavailable","n":1}`)
	if got := string(field(body, "code")); got != "unavailable" {
		t.Errorf("code %q", got)
	}
	if got := number(body, "status"); got != 503 {
		t.Errorf("status %d", got)
	}
	if field(body, "n") != nil || field(body, "cod") != nil || field(nil, "code") != nil || number(body, "code") != 0 || number(body, "x") != 0 {
		t.Error("found what is not there")
	}
}

// The generator shares its processors with the server: it must allocate nothing for a request.
func TestRequestAllocatesNothing(t *testing.T) {
	r, items := newRequest("token", "load-abc", 2, 30, false), []item{{42, 7, true}}
	r.render("host:1", items)
	if n := testing.AllocsPerRun(100, func() { r.render("host:1", items) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
