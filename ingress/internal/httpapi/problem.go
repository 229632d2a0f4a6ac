package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/triggerd/triggerd/shared/strictjson"
)

// code is the stable word of a failure.
type code uint8

const (
	invalidToken code = iota
	forbidden
	rateLimited
	unsupportedMediaType
	bodyTooLarge
	invalidJSON
	missingField
	invalidField
	idempotencyMismatch
	keyBudget
	unknownUser
	unknownModule
	moduleTaken
	unavailable
	unknownOutcome
	outcomeExpired
	notFound
	methodNotAllowed
	internal
)

// codes is what each failure means on either surface: the one table from errors to answers. The published contract
// answers 400 to much that has a status of its own elsewhere. Words and texts are promises to
// clients, who compare them.
var codes = [...]struct {
	word            string
	status          int    // on /actionsvc and wherever /v1 is not
	statusV1        int    // on /v1
	text            string // for a person
	retryAfter      string // seconds; empty = do not repeat it unchanged
	closeConnection bool   // the rest of the body is not worth reading
}{
	invalidToken:         {word: "invalid_token", status: 400, statusV1: 401, text: "Invalid API auth token"},
	forbidden:            {word: "forbidden", status: 400, statusV1: 403, text: "The token's scope does not cover this call"},
	rateLimited:          {word: "rate_limited", status: 429, statusV1: 429, text: "More triggers than the account may send; try again later", retryAfter: "1"},
	unsupportedMediaType: {word: "unsupported_media_type", status: 415, statusV1: 415, text: "Content-Type must be application/json, without Content-Encoding"},
	bodyTooLarge:         {word: "body_too_large", status: 413, statusV1: 413, text: "The body is over the limit", closeConnection: true},
	invalidJSON:          {word: "invalid_json", status: 400, statusV1: 400, text: "The body is not a valid JSON object"},
	missingField:         {word: "missing_field", status: 400, statusV1: 400, text: "user_id and module_id are mandatory"},
	invalidField:         {word: "invalid_field", status: 400, statusV1: 400, text: "A field is invalid"},
	idempotencyMismatch:  {word: "idempotency_mismatch", status: 422, statusV1: 422, text: "The Idempotency-Key is known with another request"},
	keyBudget:            {word: "key_budget", status: 429, statusV1: 429, text: "No more keys can be remembered at the moment; send it later, or without a key", retryAfter: "3600"},
	unknownUser:          {word: "unknown_user", status: 400, statusV1: 404, text: "Bot user with this id does not exist"},
	unknownModule:        {word: "unknown_module", status: 400, statusV1: 400, text: "Module with this id does not exist"},
	moduleTaken:          {word: "module_taken", status: 409, statusV1: 409, text: "A module id belongs to another bot of the account"},
	unavailable:          {word: "unavailable", status: 503, statusV1: 503, text: "Not available at the moment, nothing was stored; try again", retryAfter: "1"},
	unknownOutcome:       {word: "unknown_outcome", status: 503, statusV1: 503, text: "Not confirmed in time and perhaps stored; ask for the receipt, or repeat with the same Idempotency-Key", retryAfter: "1"},
	outcomeExpired:       {word: "outcome_expired", status: 404, statusV1: 404, text: "What became of this is no longer kept"},
	notFound:             {word: "not_found", status: 404, statusV1: 404, text: "There is nothing here"},
	methodNotAllowed:     {word: "method_not_allowed", status: 405, statusV1: 405, text: "This method is not allowed here"},
	internal:             {word: "internal", status: 500, statusV1: 500, text: "Internal error"},
}

// failure is an answer other than the one that was asked for. The zero text is that of the code.
type failure struct {
	code    code
	text    string
	receipt string // unknownOutcome
	hangUp  bool   // the rest of the body is not waited for
	cut     bool   // of an import: nothing more can be read
	cause   error  // for the log, never for the caller

	retryAfter string // seconds, where they are other than the code's
}

// fail makes a failure with the code's own text.
func fail(c code) *failure { return &failure{code: c} }

// asFailure makes one of what is none.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{code: internal, cause: err}
}

// Error is for the log.
func (f *failure) Error() string {
	s := codes[f.code].word + ": " + f.message()
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	return s
}

// again reports whether the same request can succeed later.
func (f *failure) again() bool {
	status := codes[f.code].status
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

func (f *failure) Unwrap() error { return f.cause }

func (f *failure) message() string {
	if f.text != "" {
		return f.text
	}
	return codes[f.code].text
}

// onV1 reports whether a path belongs to the surface that speaks RFC 9457.
func onV1(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

// write sends the failure in the manner of the surface that path is on. It returns the status.
func (f *failure) write(w http.ResponseWriter, path string) int {
	kind := &codes[f.code]
	h := w.Header()
	if after := cmp.Or(f.retryAfter, kind.retryAfter); after != "" {
		h.Set("Retry-After", after)
	}
	if kind.closeConnection || f.hangUp {
		h.Set("Connection", "close")
	}
	status, contentType, body := kind.status, "application/json", []byte(nil)
	if onV1(path) {
		status, contentType = kind.statusV1, "application/problem+json"
		body = f.problem(status)
	} else {
		body = f.envelope()
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer") // RFC 9110 demands a challenge
	}
	h.Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(body) // a client that is gone needs no answer
	return status
}

// envelope is the failure as the published Trigger Response API shows it.
func (f *failure) envelope() []byte {
	b := strictjson.AppendString([]byte(`{"error":`), f.message())
	b = strictjson.AppendString(append(b, `,"message":null,"code":`...), codes[f.code].word)
	return append(f.appendReceipt(b), '}')
}

// problem is the failure as RFC 9457 has it. The type is about:blank, so the title is that of the
// status; code is what programs compare.
func (f *failure) problem(status int) []byte {
	b := strictjson.AppendString([]byte(`{"type":"about:blank","title":`), http.StatusText(status))
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	b = strictjson.AppendString(append(b, `,"detail":`...), f.message())
	b = strictjson.AppendString(append(b, `,"code":`...), codes[f.code].word)
	return append(f.appendReceipt(b), '}')
}

func (f *failure) appendReceipt(b []byte) []byte {
	if f.receipt == "" {
		return b
	}
	return strictjson.AppendString(append(b, `,"receipt":`...), f.receipt)
}
