// Package auth is the token gate: who calls, and what they may do.
package auth

import "errors"

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

// ErrToken: missing or bad, for whatever reason; the reason is for the log, never for the caller.
var ErrToken = errors.New("invalid token")

// Gate is safe for concurrent use.
type Gate struct{}

// Verify takes the Authorization header's value ("JWT x" or "Bearer x", scheme in any case). Errors wrap ErrToken.
func (g *Gate) Verify(authorization string) (Identity, error) { panic("skeleton") }
