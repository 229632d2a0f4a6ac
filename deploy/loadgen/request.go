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

// Numbers in the user's id and in a trigger's variable are as wide as they ever get, so that all requests are equally long.
const (
	maxUsers  = 99_999_999
	userWidth = 8
	firstSeq  = 1_000_000_000 // ten digits, of a number that no run outgrows
	seqWidth  = 10
)

// userName is the id of user n of a run.
func userName(run string, n int) string { return fmt.Sprintf("%s-%0*d", run, userWidth, n) }

// item is one trigger of a request: the number seq of a user.
type item struct {
	user  int
	seq   uint64
	keyed bool
}

// request renders triggers into one buffer. For one goroutine.
type request struct {
	token string
	run   string
	tail  string // of an item: what comes after the number
	batch bool   // to the endpoint for batches
	body  []byte
	bytes []byte
}

// newRequest has vars further variables of valueBytes bytes in each trigger.
func newRequest(token, run string, vars, valueBytes int, batch bool) *request {
	r := &request{token: token, run: run, batch: batch}
	for i := range vars {
		r.tail += fmt.Sprintf(`,"pad%d":"%s"`, i, strings.Repeat("x", valueBytes))
	}
	r.tail += "}"
	return r
}

// render makes the request for items, valid until the next call.
func (r *request) render(host string, items []item) []byte {
	r.body = r.body[:0]
	if r.batch {
		r.body = append(r.body, '[')
	}
	for i := range items {
		if i > 0 {
			r.body = append(r.body, ',')
		}
		r.item(&items[i])
	}
	path := "/actionsvc/trigger-response/"
	if r.batch {
		r.body, path = append(r.body, ']'), "/actionsvc/trigger-response/batch/"
	}
	b := append(append(r.bytes[:0], "POST "...), path...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), host...)
	b = append(append(b, "\r\nAuthorization: JWT "...), r.token...)
	if !r.batch && items[0].keyed {
		b = r.key(append(b, "\r\nIdempotency-Key: "...), &items[0])
	}
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(r.body)), 10), "\r\n\r\n"...)
	r.bytes = append(b, r.body...)
	return r.bytes
}

func (r *request) item(it *item) {
	b := r.name(append(r.body, `{"user_id":"`...), it.user)
	if r.batch && it.keyed {
		b = r.key(append(b, `","idempotency_key":"`...), it)
	}
	b = append(b, `","module_id":1,"is_async":true,"custom_vars":{"seq":`...)
	b = appendDigits(b, firstSeq+it.seq, seqWidth)
	r.body = append(append(b, r.tail...), '}')
}

func (r *request) name(b []byte, user int) []byte {
	return appendDigits(append(append(b, r.run...), '-'), uint64(user), userWidth)
}

// key is the trigger's own: the same whenever it is sent.
func (r *request) key(b []byte, it *item) []byte {
	return strconv.AppendUint(append(r.name(b, it.user), '.'), it.seq, 10)
}

// appendDigits writes n in decimal, with zeros in front.
func appendDigits(b []byte, n uint64, width int) []byte {
	const zeros = "0000000000"
	b = append(b, zeros[:width]...)
	for i := len(b) - 1; i >= len(b)-width; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}
