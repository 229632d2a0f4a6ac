package loadgen

import (
	"fmt"
	"strconv"
	"strings"
)

// The bot and the Module of every user and trigger.
const (
	botID    = "loadgen"
	moduleID = 1
)

// Both are as wide as they ever get, so that a request is patched and not rendered: its length never changes.
const (
	maxUsers  = 99_999_999
	userWidth = 8
	firstSeq  = 1_000_000_000 // ten digits, of a number that no run outgrows
	seqWidth  = 10
)

// userName is the id of user n of a run.
func userName(run string, n int) string { return fmt.Sprintf("%s-%0*d", run, userWidth, n) }

// request is a trigger's bytes, ready to be patched and sent. For one goroutine.
type request struct {
	bytes         []byte
	userAt, seqAt int
}

func newRequest(host, token, run string, payload int) *request {
	body := fmt.Sprintf(`{"user_id":%q,"module_id":%d,"is_async":true,"custom_vars":{"seq":%d`, userName(run, 0), moduleID, firstSeq)
	if payload > 0 {
		body += `,"pad":"` + strings.Repeat("x", payload) + `"`
	}
	body += "}}"
	text := "POST /actionsvc/trigger-response/ HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: JWT " + token +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	start := len(text)
	text += body
	return &request{
		bytes:  []byte(text),
		userAt: start + strings.Index(body, userName(run, 0)) + len(run) + 1,
		seqAt:  start + strings.Index(body, strconv.Itoa(firstSeq)),
	}
}

// of is the request for a user's next number. It is valid until the next call.
func (r *request) of(user int, seq uint64) []byte {
	patch(r.bytes[r.userAt:r.userAt+userWidth], uint64(user))
	patch(r.bytes[r.seqAt:r.seqAt+seqWidth], firstSeq+seq)
	return r.bytes
}

// patch writes n in decimal over all of digits.
func patch(digits []byte, n uint64) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
}
