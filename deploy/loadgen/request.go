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

// request is the bytes of a trigger, or of a batch of them, ready to be patched and sent. For one goroutine.
type request struct {
	bytes []byte
	items []struct{ userAt, seqAt int }
}

// newRequest has items triggers: as a batch, unless it is one.
func newRequest(host, token, run string, payload, items int) *request {
	item := fmt.Sprintf(`{"user_id":%q,"module_id":%d,"is_async":true,"custom_vars":{"seq":%d`, userName(run, 0), moduleID, firstSeq)
	if payload > 0 {
		item += `,"pad":"` + strings.Repeat("x", payload) + `"`
	}
	item += "}}"
	path, body := "/actionsvc/trigger-response/", item
	if items > 1 {
		path, body = path+"batch/", "["+item+strings.Repeat(","+item, items-1)+"]"
	}
	text := "POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: JWT " + token +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	r := &request{bytes: []byte(text + body), items: make([]struct{ userAt, seqAt int }, items)}
	start := len(text)
	for i := range r.items {
		r.items[i].userAt = start + strings.Index(body, userName(run, 0)) + len(run) + 1
		r.items[i].seqAt = start + strings.Index(body, strconv.Itoa(firstSeq))
		start, body = start+len(item)+1, body[min(len(body), len(item)+1):]
	}
	return r
}

// put makes item i the trigger of a user with that number.
func (r *request) put(i, user int, seq uint64) {
	at := r.items[i]
	patch(r.bytes[at.userAt:at.userAt+userWidth], uint64(user))
	patch(r.bytes[at.seqAt:at.seqAt+seqWidth], firstSeq+seq)
}

// patch writes n in decimal over all of digits.
func patch(digits []byte, n uint64) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
}
