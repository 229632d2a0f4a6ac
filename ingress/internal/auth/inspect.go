package auth

import "time"

// Inspect says what a token is called (jti; empty if it has none) and when it expires, whoever signed it: for whoever wants to revoke one. It proves nothing.
func Inspect(token string) (jti string, expires time.Time, err error) {
	if len(token) > DefaultMaxToken {
		return "", expires, errTooLong
	}
	parts, err := split(token)
	if err != nil {
		return "", expires, err
	}
	c, err := parseClaims(parts.claims)
	if err != nil {
		return "", expires, err
	}
	if c.expires != nil {
		expires = c.expires.Time
	}
	return c.tokenID, expires, nil
}
