package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/strictjson"
)

// An idempotency key names a request of a user (IETF draft-ietf-httpapi-idempotency-key-header). Whether it is known is the machine's knowledge; a
// repetition is answered from there as the first time, and what slips through, because two come at once or the owner is away, the machine finds.

const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
)

var (
	badKey      = &failure{code: invalidField, text: "Idempotency-Key must be 1 to 255 visible ASCII characters, once"}
	badItemKey  = &failure{code: invalidField, text: "idempotency_key must be a string of 1 to 255 visible ASCII characters"}
	badBatchKey = &failure{code: invalidField, text: "A batch has no Idempotency-Key: give each item its own idempotency_key"}
)

// keyOf reads the header; nil without one.
func keyOf(h http.Header) ([]byte, error) {
	values := h[keyHeader]
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > 1 || !validKey(values[0]) {
		return nil, badKey
	}
	return []byte(values[0]), nil
}

func validKey[T string | []byte](key T) bool {
	return len(key) > 0 && len(key) <= record.MaxKeyBytes && record.Visible(key)
}

func (r *request) setKey(value []byte) *failure {
	key, ok := strictjson.String(value)
	if !ok || !validKey(key) {
		return badItemKey
	}
	r.key = key
	return nil
}

// keyResult is what a key turned out to be.
type keyResult uint8

const (
	keyNew keyResult = iota
	keyReplayed
	keyMismatch
	keyNoRoom
	keyUnverified
	keyResults
)

var keyResultNames = [keyResults]string{"new", "replayed", "mismatch", "no_room", "unverified"}

// replay judges by what is known of the request's key. It is answered (or refused) if ended; id is then that of the first trigger.
func (a *API) replay(print string, prior admission.Prior) (id record.ID, ended bool, err error) {
	result := keyNew
	switch {
	case prior.TriggerID != "" && prior.Print == print:
		result = keyReplayed
		id, err = record.ParseID(prior.TriggerID)
	case prior.TriggerID != "":
		result, err = keyMismatch, fail(idempotencyMismatch)
	case prior.NoRoom:
		result, err = keyNoRoom, fail(keyBudget)
	case !prior.Final:
		result = keyUnverified
	}
	a.metrics.keys[result].Inc()
	return id, err != nil || result == keyReplayed, err
}

// printVersion begins every fingerprint. Another way of making them needs another one, and then makes both for as long as keys are remembered, or
// each repetition would be refused.
const printVersion = "1"

// printer makes fingerprints, and keeps what it needs for that from one to the next. Not safe for concurrent use.
type printer struct {
	out     []byte
	members []record.Var // of the objects that are being rendered, one inside of the other
}

// print is the fingerprint of what was asked, as it was decoded and without defaults: neither the order of members nor white space, escapes or
// unknown fields change it. Numbers count as they are written.
func (p *printer) print(r *request) string {
	p.out = append(p.out[:0], boolByte(r.async), boolByte(r.hasModule), boolByte(r.seen&fWait != 0))
	p.out = binary.AppendVarint(p.out, r.module)
	p.out = binary.AppendVarint(p.out, r.wait)
	p.members = append(p.members[:0], r.vars...)
	p.object(0)
	sum := sha256.Sum256(p.out)
	return printVersion + base64.RawURLEncoding.EncodeToString(sum[:12])
}

// kept reports whether what p holds is little enough to go back into the pool.
func (p *printer) kept() bool { return cap(p.out) <= maxKept && cap(p.members) <= maxKept/64 }

// value renders a JSON value, which has been read as such before, so that values which mean the same are the same bytes, and others are not.
func (p *printer) value(value []byte) {
	switch value[0] {
	case '{':
		first := len(p.members)
		in := strictjson.NewReader(value, maxDepth)
		_ = in.Open('{')
		for name, ok, _ := in.Member(); ok; name, ok, _ = in.Member() {
			member, _ := in.Value()
			p.members = append(p.members, record.Var{Name: name, Value: member})
		}
		p.object(first)
	case '[':
		p.out = append(p.out, '[')
		in := strictjson.NewReader(value, maxDepth)
		_ = in.Open('[')
		for ok, _ := in.Element(); ok; ok, _ = in.Element() {
			element, _ := in.Value()
			p.value(element)
		}
		p.out = append(p.out, ']')
	case '"':
		text, _ := strictjson.String(value)
		p.text('"', text)
	default:
		p.text('=', value)
	}
}

// object renders the members from first on, sorted by name; of one name the order stays. They are gone then.
func (p *printer) object(first int) {
	members := p.members[first:]
	slices.SortStableFunc(members, func(a, b record.Var) int { return bytes.Compare(a.Name, b.Name) })
	p.out = strconv.AppendInt(append(p.out, '{'), int64(len(members)), 10)
	for _, m := range members { // what is inside of them comes behind them, or into another array
		p.text(' ', m.Name)
		p.value(m.Value)
	}
	clear(members)
	p.members = p.members[:first]
}

// text renders a text with its length before it, so that none can be taken for another with its surroundings.
func (p *printer) text(kind byte, text []byte) {
	p.out = append(strconv.AppendInt(append(p.out, kind), int64(len(text)), 10), ':')
	p.out = append(p.out, text...)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
