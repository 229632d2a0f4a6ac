package statequery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/triggerd/triggerd/shared/record"
)

// Bounds of a request. Both sides hold to them: a Client refuses to send what DecodeRequest would refuse.
const (
	MaxRequestBytes = 512 << 10 // an encoded request
	MaxChecks       = 1000      // users in a Check
	MaxDeadLetters  = 1000
	MaxAccountBytes = 256
	MaxUserBytes    = 256
	MaxKeyBytes     = record.MaxKeyBytes
	MaxIDBytes      = 256
	MaxWait         = 30 * time.Second
)

// EncodeRequest renders req, which must be within the bounds; its errors wrap ErrBadRequest.
func EncodeRequest(req Request) ([]byte, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	data, err := encode(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if len(data) > MaxRequestBytes {
		return nil, refuse("request of %d bytes, over %d", len(data), MaxRequestBytes)
	}
	return data, nil
}

// DecodeRequest reads one request, which is checked against every bound before it is returned. Its errors wrap ErrBadRequest:
// the owner answers those with WordBadRequest. The result does not alias data.
func DecodeRequest(data []byte) (Request, error) {
	if len(data) > MaxRequestBytes {
		return Request{}, refuse("request of %d bytes, over %d", len(data), MaxRequestBytes)
	}
	if !utf8.Valid(data) {
		return Request{}, refuse("request is not UTF-8")
	}
	var req Request
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return Request{}, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Request{}, refuse("data after the request")
	}
	if err := req.check(); err != nil {
		return Request{}, err
	}
	return req, nil
}

// EncodeReply renders a reply. Custom variables keep the characters they were sent with. The error is that of a raw value
// which is not JSON.
func EncodeReply(reply Reply) ([]byte, error) {
	data, err := encode(reply)
	if err != nil {
		return nil, fmt.Errorf("encode reply: %w", err)
	}
	return data, nil
}

// decodeReply reads the answer to req. Its errors wrap ErrMalformed.
func decodeReply(req Request, data []byte) (Reply, error) {
	var reply Reply
	if err := json.Unmarshal(data, &reply); err != nil {
		return Reply{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := reply.fits(req); err != nil {
		return Reply{}, err
	}
	return reply, nil
}

// encode is json.Marshal without its HTML escapes, which would both alter values and make them up to six times as long.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// fits reports whether the reply answers the question that was asked.
func (r *Reply) fits(req Request) error {
	final := r.Error == "" || r.Error == WordBehind
	switch {
	case len(req.Check) > 0 && final && len(r.Known) != len(req.Check):
		return fmt.Errorf("%w: %d answers to %d checks", ErrMalformed, len(r.Known), len(req.Check))
	case final && len(r.Keys) != len(req.Check) && slices.ContainsFunc(req.Check, Check.keyed):
		return fmt.Errorf("%w: %d keys in the answer to %d checks", ErrMalformed, len(r.Keys), len(req.Check))
	case req.Outcome != nil && r.Error == "" && r.Outcome == nil:
		return fmt.Errorf("%w: neither outcome nor error", ErrMalformed)
	case req.Status != nil && r.Error == "" && r.Status == nil:
		return fmt.Errorf("%w: neither status nor error", ErrMalformed)
	}
	return nil
}

// check holds a request to the bounds.
func (r *Request) check() error {
	if err := r.checkCount(); err != nil {
		return err
	}
	if r.WaitMillis < 0 || r.WaitMillis > MaxWait.Milliseconds() {
		return refuse("wait of %d ms, not within 0 and %d", r.WaitMillis, MaxWait.Milliseconds())
	}
	for i := range r.Check {
		if err := r.Check[i].check(); err != nil {
			return err
		}
	}
	switch {
	case r.User != nil:
		return r.User.check()
	case r.Outcome != nil:
		return r.Outcome.check()
	case r.DeadLetters != nil:
		return r.DeadLetters.check()
	}
	return nil
}

// checkCount sees to it that one question is asked, no more and no less.
func (r *Request) checkCount() error {
	questions := 0
	for _, asked := range []bool{r.Check != nil, r.User != nil, r.Outcome != nil, r.DeadLetters != nil, r.Status != nil} {
		if asked {
			questions++
		}
	}
	switch {
	case questions > 1:
		return refuse("%d questions in one request", questions)
	case questions == 0 && r.WaitSeq == 0:
		return refuse("no question")
	case r.Check != nil && len(r.Check) == 0:
		return refuse("check of no user")
	case len(r.Check) > MaxChecks:
		return refuse("check of %d users, over %d", len(r.Check), MaxChecks)
	}
	return nil
}

func (u *User) check() error {
	if err := checkText("account", u.Account, MaxAccountBytes); err != nil {
		return err
	}
	return checkText("user", u.User, MaxUserBytes)
}

func (c Check) keyed() bool { return c.Key != "" }

func (c *Check) check() error {
	u := User{c.Account, c.User}
	if err := u.check(); err != nil {
		return err
	}
	if len(c.Key) > MaxKeyBytes || !record.Visible(c.Key) {
		return refuse("key is not of at most %d visible ASCII characters", MaxKeyBytes)
	}
	return nil
}

func (o *OutcomeOf) check() error {
	if err := checkText("account", o.Account, MaxAccountBytes); err != nil {
		return err
	}
	return checkText("id", o.ID, MaxIDBytes)
}

func (d *DeadLettersOf) check() error {
	if d.Limit < 1 || d.Limit > MaxDeadLetters {
		return refuse("limit of %d, not within 1 and %d", d.Limit, MaxDeadLetters)
	}
	return checkText("account", d.Account, MaxAccountBytes)
}

// Valid reports whether c can be asked for: both names present, within their lengths, UTF-8 without control characters, and no key or a proper one.
func (c Check) Valid() bool { return c.check() == nil }

// checkText refuses what could not travel unharmed: encoding/json replaces invalid UTF-8, which would ask for another user.
func checkText(field, s string, limit int) error {
	switch {
	case s == "":
		return refuse("empty %s", field)
	case len(s) > limit:
		return refuse("%s of %d bytes, over %d", field, len(s), limit)
	case !utf8.ValidString(s):
		return refuse("%s is not UTF-8", field)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return refuse("control character in %s", field)
		}
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadRequest, fmt.Sprintf(format, args...))
}
