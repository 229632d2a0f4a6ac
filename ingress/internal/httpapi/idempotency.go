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

// fingerprint stands for what was asked, as it was decoded and without defaults: neither the order of members nor white space, escapes or
// unknown fields change it. Numbers count as they are written.
func (r *request) fingerprint() string {
	b := make([]byte, 0, 512)
	b = append(b, boolByte(r.async), boolByte(r.hasModule), boolByte(r.seen&fWait != 0))
	b = binary.AppendVarint(b, r.module)
	b = binary.AppendVarint(b, r.wait)
	b = appendMembers(b, r.vars)
	sum := sha256.Sum256(b)
	return printVersion + base64.RawURLEncoding.EncodeToString(sum[:12])
}

// appendCanonical renders a JSON value so that values which mean the same are the same bytes, and others are not.
func appendCanonical(dst, value []byte) []byte {
	switch value[0] {
	case '{':
		var members []record.Var
		_ = strictjson.Object(value, maxDepth, func(name, value []byte) error { // it has been read as JSON before
			members = append(members, record.Var{Name: name, Value: value})
			return nil
		})
		return appendMembers(dst, members)
	case '[':
		dst = append(dst, '[')
		in := strictjson.NewReader(value, maxDepth)
		_ = in.Open('[')
		for {
			ok, err := in.Element()
			if err != nil || !ok {
				return append(dst, ']')
			}
			element, _ := in.Value()
			dst = appendCanonical(dst, element)
		}
	case '"':
		text, _ := strictjson.String(value)
		return appendText(append(dst, '"'), text)
	}
	return appendText(append(dst, '='), value)
}

// appendMembers renders an object, sorted by name; of one name the order stays.
func appendMembers(dst []byte, members []record.Var) []byte {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b record.Var) int { return bytes.Compare(a.Name, b.Name) })
	dst = strconv.AppendInt(append(dst, '{'), int64(len(sorted)), 10)
	for _, m := range sorted {
		dst = appendCanonical(appendText(dst, m.Name), m.Value)
	}
	return dst
}

// appendText renders a text with its length before it, so that none can be taken for another with its surroundings.
func appendText(dst, text []byte) []byte {
	return append(append(strconv.AppendInt(append(dst, ' '), int64(len(text)), 10), ':'), text...)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
