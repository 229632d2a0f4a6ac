package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

// Bounds of a request that are part of the contract, not of a configuration.
const (
	maxDepth   = 32                           // levels of nesting, the request object is the first
	maxID      = 256                          // bytes of a user's or a bot's id
	maxVarName = 64                           // bytes
	maxWait    = int64(30 * 24 * 3600 * 1000) // milliseconds
)

// field is a set of the fields that a request can have.
type field uint8

const (
	fUser field = 1 << iota
	fModule
	fVars
	fAsync
	fWait
	fBot
	fKey
)

// The shapes of requests. What is in no shape is ignored, as unknown fields are.
const (
	shapeTrigger = fUser | fModule | fVars | fAsync | fWait
	shapeItem    = shapeTrigger | fKey
	shapeUser    = fBot | fModule | fVars
	shapeImport  = shapeUser | fUser
)

func fieldOf(name []byte) field {
	switch string(name) {
	case "user_id":
		return fUser
	case "module_id":
		return fModule
	case "custom_vars":
		return fVars
	case "is_async":
		return fAsync
	case "wait_time":
		return fWait
	case "bot_id":
		return fBot
	case "idempotency_key":
		return fKey
	}
	return 0
}

// request is a decoded body. Its slices alias the body or belong to the decoder.
type request struct {
	seen      field
	user      []byte
	hasUser   bool // user_id was there and neither null nor empty
	bot       []byte
	module    int64
	hasModule bool // module_id was there and not null
	async     bool // exactly true
	wait      int64
	vars      []record.Var
	key       []byte // idempotency key, nil = none
}

// decoder reads requests and keeps what it needs for that from one to the next. Not safe for concurrent use.
type decoder struct {
	maxVars int
	shape   field
	req     request
	fault   *failure // the first field that is not as it should be
	compact []byte   // values that were sent with white space inside
	count   int      // members of custom_vars, doubles included
}

// errTwice ends a walk; the caller makes the failure.
var errTwice = errors.New("a field is given twice")

// What is wrong with a field. The first that is met is the one that is answered.
var (
	badUser     = &failure{code: invalidField, text: "user_id must be a string of 1 to 256 bytes without control characters"}
	badBot      = &failure{code: invalidField, text: "bot_id must be a string of 1 to 256 bytes without control characters"}
	badModule   = &failure{code: invalidField, text: "module_id must be an integer, a numeric string or null"}
	badVars     = &failure{code: invalidField, text: "custom_vars must be an object"}
	badVarName  = &failure{code: invalidField, text: "custom_vars: a name must start with a letter, go on with letters, digits, _ and -, and have at most 64 bytes"}
	badWait     = &failure{code: invalidField, text: "wait_time must be a number of seconds from 0 to 2592000"}
	missingBoth = &failure{code: missingField}
	missingUser = &failure{code: missingField, text: "user_id is mandatory"}
)

// decode reads data as a request of the given shape. All of it is judged as JSON before any field is: a document that
// is none has no fields. The result is valid until data changes or the decoder is used again.
func (d *decoder) decode(data []byte, shape field) (*request, error) {
	d.shape, d.fault, d.count, d.compact = shape, nil, 0, d.compact[:0]
	d.req = request{vars: d.req.vars[:0]}
	if err := strictjson.Object(data, maxDepth, d.member); err != nil {
		return nil, notJSON(err)
	}
	return &d.req, nil
}

// trigger reads the body of a trigger, and item that of one in a batch: first what is missing is answered, then what is wrong.
func (d *decoder) trigger(data []byte, requireModule bool) (*request, error) {
	return d.readTrigger(data, shapeTrigger, requireModule)
}

func (d *decoder) item(data []byte, requireModule bool) (*request, error) {
	return d.readTrigger(data, shapeItem, requireModule)
}

func (d *decoder) readTrigger(data []byte, shape field, requireModule bool) (*request, error) {
	req, err := d.decode(data, shape)
	switch {
	case err != nil:
		return nil, err
	case !requireModule && !req.hasUser:
		return nil, missingUser
	case !req.hasUser, requireModule && req.seen&fModule == 0:
		return nil, missingBoth
	}
	return d.judged()
}

// user reads the body of a PUT, whose user is named by the path; line reads a line of an import.
func (d *decoder) user(data []byte) (*request, error) {
	if _, err := d.decode(data, shapeUser); err != nil {
		return nil, err
	}
	return d.judged()
}

func (d *decoder) line(data []byte) (*request, error) {
	req, err := d.decode(data, shapeImport)
	switch {
	case err != nil:
		return nil, err
	case !req.hasUser:
		return nil, missingUser
	}
	return d.judged()
}

func (d *decoder) judged() (*request, error) {
	if d.fault != nil {
		return nil, d.fault
	}
	return &d.req, nil
}

// notJSON says where a document stops being one. Errors of the parser never quote it.
func notJSON(err error) *failure {
	return &failure{code: invalidJSON, text: "The body is not a valid JSON object: " + err.Error()}
}

// member takes one field.
func (d *decoder) member(name, value []byte) error {
	f := fieldOf(name) & d.shape
	if f == 0 {
		return nil
	}
	if d.req.seen&f != 0 {
		return fmt.Errorf("%s: %w", name, errTwice)
	}
	d.req.seen |= f
	if fault := d.set(f, value); fault != nil && d.fault == nil {
		d.fault = fault
	}
	return nil
}

func (d *decoder) set(f field, value []byte) *failure {
	null := string(value) == "null"
	switch f {
	case fUser:
		d.req.hasUser = !null && string(value) != `""`
		return setID(&d.req.user, value, badUser)
	case fBot:
		return setID(&d.req.bot, value, badBot)
	case fModule:
		return d.req.setModule(value)
	case fVars:
		if null {
			return nil
		}
		return d.setVars(value)
	case fAsync:
		d.req.async = string(value) == "true"
	case fWait:
		return d.req.setWait(value)
	case fKey:
		return d.req.setKey(value)
	}
	return nil
}

// setID reads an id; null leaves it as it is, and so does the empty string.
func setID(to *[]byte, value []byte, bad *failure) *failure {
	if string(value) == "null" {
		return nil
	}
	s, ok := strictjson.String(value)
	if !ok || len(s) > 0 && !validID(s) {
		return bad
	}
	*to = s
	return nil
}

// validID reports whether s can name a user or a bot: 1 to 256 bytes of UTF-8 without control characters.
func validID(s []byte) bool {
	return len(s) > 0 && len(s) <= maxID && utf8.Valid(s) && bytes.IndexFunc(s, unicode.IsControl) < 0
}

func (r *request) setModule(value []byte) *failure {
	if string(value) == "null" {
		return nil
	}
	n, ok := moduleID(value)
	if !ok {
		return badModule
	}
	r.module, r.hasModule = n, true
	return nil
}

// moduleID reads an integer or a string of digits.
func moduleID(value []byte) (int64, bool) {
	if isNumber(value) {
		d := parseDecimal(value)
		return d.integer()
	}
	s, ok := strictjson.String(value)
	if !ok || len(s) == 0 || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(s), 10, 64)
	return n, err == nil
}

func (r *request) setWait(value []byte) *failure {
	if !isNumber(value) {
		return badWait
	}
	d := parseDecimal(value)
	ms, ok := d.millis(maxWait)
	if !ok {
		return badWait
	}
	r.wait = ms
	return nil
}

func isNumber(value []byte) bool { return value[0] == '-' || value[0] >= '0' && value[0] <= '9' }

func (d *decoder) setVars(value []byte) *failure {
	if value[0] != '{' {
		return badVars
	}
	if err := strictjson.Object(value, maxDepth, d.variable); err != nil {
		return asFailure(err) // that of a variable: as JSON the value has passed
	}
	return nil
}

// variable takes one variable. Of several with one name the last counts, at the place of the first.
func (d *decoder) variable(name, value []byte) error {
	if d.count++; d.count > d.maxVars {
		return &failure{code: invalidField, text: "custom_vars must not have over " + strconv.Itoa(d.maxVars) + " variables"}
	}
	if !validVarName(name) {
		return badVarName
	}
	value = d.squeeze(value)
	for i := range d.req.vars {
		if bytes.Equal(d.req.vars[i].Name, name) {
			d.req.vars[i].Value = value
			return nil
		}
	}
	d.req.vars = append(d.req.vars, record.Var{Name: name, Value: value})
	return nil
}

// squeeze returns value without insignificant white space: a line of the log must not break.
func (d *decoder) squeeze(value []byte) []byte {
	if value[0] != '{' && value[0] != '[' {
		return value
	}
	start := len(d.compact)
	d.compact = strictjson.AppendCompact(d.compact, value)
	return d.compact[start:]
}

func validVarName(name []byte) bool {
	if len(name) == 0 || len(name) > maxVarName || !isLetter(name[0]) {
		return false
	}
	for _, c := range name[1:] {
		if !isLetter(c) && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
