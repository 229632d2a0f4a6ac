// Package auth is the token gate: who calls, and what they may do.
//
// # Usage
//
// A [Gate] reads the public keys of the issuers from a JWKS, a file or what an https server says, and turns the value of an
// Authorization header into an [Identity]. What an identity may do is for the
// caller to compare with [Scopes.Has]. [Gate.Run] keeps the keys up to date. [Signer] is the other side: it issues tokens from
// a local Ed25519 key, which [EnsureKeys] makes together with its JWKS; [KeysCommand] rotates them.
//
// # What a token must be
//
// A JWS in compact form (RFC 7515), at most [DefaultMaxToken] bytes, signed by a key of the set with
// the one algorithm that this key has: never the one that the token asks for. Headers
// that would change how it is verified (crit, jku, jwk, x5u, x5c) are refused, not
// ignored. Claims: sub is the account, aud names triggerd, exp is mandatory, nbf and
// iat are honoured with a leeway of [DefaultLeeway]; these three are whole seconds. A name given twice, in the header or in the
// claims, whatever its case or escapes, is refused: two readers must not understand one token differently.
//
// # Cost
//
// What can be refused without a signature check is, and a token costs one at most; a stranger's costs a hash and the walk over its header. No token makes the gate
// look at a file, ask a server, write a line to the log or remember anything, unless it passes.
//
// # Failure
//
// Every refusal wraps [ErrToken] and gives a reason for the log; callers answer all of them alike, so
// nobody learns from the answer which part of a forged token was right. Neither errors nor logs hold
// any part of a token.
//
// Keys that cannot be had, or used, after a change leave the old ones in force, for as long as it takes: [Gate.Ready], a metric and the log say so.
// Without ever having had any there is no gate.
//
// # Revocation
//
// A token with a jti is held against Config.Revoked each time, also when it is remembered as verified. What is remembered belongs to one version of the
// key set and goes with it.
//
// # Concurrency
//
// A Gate starts no goroutine; Run is one's own. Everything here is safe for concurrent use.
package auth

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Identity is what a verified token says.
type Identity struct {
	Account string
	Scopes  Scopes
}

// Scopes is a set of trigger, runtime, admin.
type Scopes uint8

const (
	ScopeTrigger Scopes = 1 << iota
	ScopeRuntime
	ScopeAdmin
)

// Has reports whether s holds at least one of those wanted.
func (s Scopes) Has(wanted Scopes) bool { return s&wanted != 0 }

// ParseScopes reads words separated by spaces (RFC 6749). Words that it does not know
// grant nothing; other services may share the token.
func ParseScopes(words string) Scopes {
	var s Scopes
	for word := range strings.FieldsSeq(words) {
		s |= scopeOf(word)
	}
	return s
}

func scopeOf(word string) Scopes {
	switch word {
	case "trigger":
		return ScopeTrigger
	case "runtime":
		return ScopeRuntime
	case "admin":
		return ScopeAdmin
	}
	return 0
}

// ErrToken: missing or bad, for whatever reason; the reason is for the log, never for the caller.
var ErrToken = errors.New("invalid token")

// maxAccount is the longest account name, in bytes.
const maxAccount = 256

// validAccount reports whether s can name an account: 1–256 bytes of UTF-8 without control characters.
func validAccount(s string) bool {
	return s != "" && len(s) <= maxAccount && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
