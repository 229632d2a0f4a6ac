package revocation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// valueVersion is the format of a value. One of another version still revokes its token.
const valueVersion = 1

// Bounds of a Revocation.
const (
	MaxTokenID = 256 // bytes
	maxText    = 256 // bytes of who and why; longer ones are cut
)

// margin is how long a revocation outlives the time that it was given: tokens are honoured a little beyond their exp, and clocks differ.
const margin = 5 * time.Minute

// Revocation is one token taken back.
type Revocation struct {
	TokenID string    // jti, 1 to MaxTokenID bytes
	Until   time.Time // when it expires anyway; zero: the revocation stays until it is undone
	At      time.Time // when it was revoked
	Who     string
	Reason  string
}

// value is a Revocation in the bucket.
type value struct {
	Version int       `json:"version"`
	TokenID string    `json:"jti"`
	Until   time.Time `json:"until,omitzero"`
	At      time.Time `json:"at"`
	Who     string    `json:"who,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// until is when the set may forget it; zero: never.
func (v value) until() time.Time {
	if v.Until.IsZero() {
		return v.Until
	}
	return v.Until.Add(margin)
}

func (r Revocation) encode() ([]byte, error) {
	return json.Marshal(value{Version: valueVersion, TokenID: r.TokenID, Until: r.Until.UTC(), At: r.At.UTC(), Who: clip(r.Who), Reason: clip(r.Reason)})
}

// parse reads a value. The error never quotes it.
func parse(data []byte) (v value, err error) {
	if err := json.Unmarshal(data, &v); err != nil {
		return value{}, errors.New("value is not JSON of the known form")
	}
	if v.Version != valueVersion {
		return value{}, fmt.Errorf("value is of version %d, known is %d", v.Version, valueVersion)
	}
	return v, nil
}

// CheckTokenID refuses what no token has for a jti.
func CheckTokenID(jti string) error {
	if jti == "" || len(jti) > MaxTokenID || !utf8.ValidString(jti) {
		return fmt.Errorf("a jti is 1 to %d bytes of UTF-8", MaxTokenID)
	}
	return nil
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}
