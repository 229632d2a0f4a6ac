package auth

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// reason says in a word why a token was refused, for metrics. There are few, and no token can add one.
type reason string

const (
	reasonScheme    reason = "scheme" // no token, or not where and how one is given
	reasonTooLong   reason = "too_long"
	reasonMalformed reason = "malformed"
	reasonHeader    reason = "header"
	reasonAlgorithm reason = "algorithm"
	reasonKey       reason = "unknown_key"
	reasonSignature reason = "signature"
	reasonClaims    reason = "claims"
	reasonExpired   reason = "expired"
	reasonNotYet    reason = "not_yet_valid"
	reasonAudience  reason = "audience"
	reasonIssuer    reason = "issuer"
	reasonRevoked   reason = "revoked"
)

var reasons = []reason{
	reasonScheme, reasonTooLong, reasonMalformed, reasonHeader, reasonAlgorithm, reasonKey, reasonSignature, reasonClaims,
	reasonExpired, reasonNotYet, reasonAudience, reasonIssuer, reasonRevoked,
}

// refusal is why a token was refused.
type refusal struct {
	reason reason
	text   string
}

func (r *refusal) Error() string { return r.text }

var (
	errScheme    = &refusal{reasonScheme, "authorization is neither JWT nor Bearer"}
	errTooLong   = &refusal{reasonTooLong, "token too long"}
	errForm      = &refusal{reasonMalformed, "token is not three segments of base64url"}
	errHeader    = &refusal{reasonHeader, "header demands another way of verifying"}
	errType      = &refusal{reasonHeader, "token is not of type JWT"}
	errAlgorithm = &refusal{reasonAlgorithm, "algorithm is not the key's"}
	errKey       = &refusal{reasonKey, "no key with this id"}
	errSignature = &refusal{reasonSignature, "signature is not the key's"}
	errTwice     = &refusal{reasonMalformed, "a name is given twice, or there are too many"}
	errCase      = &refusal{reasonMalformed, "a name is spelled in another case"}
	errMember    = &refusal{reasonClaims, "a member is of the wrong type"}
	errTime      = &refusal{reasonClaims, "a time is out of range, or no whole number"}
	errAccount   = &refusal{reasonClaims, "subject is no account name"}
	errTokenID   = &refusal{reasonClaims, "jti is empty or too long"}
	errRevoked   = &refusal{reasonRevoked, "token was revoked"}
)

// judged are the library's errors about claims, by reason. The first that fits counts.
var judged = []struct {
	err    error
	reason reason
}{
	{jwt.ErrTokenExpired, reasonExpired},
	{jwt.ErrTokenNotValidYet, reasonNotYet},
	{jwt.ErrTokenUsedBeforeIssued, reasonNotYet},
	{jwt.ErrTokenInvalidAudience, reasonAudience},
	{jwt.ErrTokenInvalidIssuer, reasonIssuer},
}

// reasonOf is malformed for what is not JSON, and claims for what the library has against them.
func reasonOf(err error) reason {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	for _, j := range judged {
		if errors.Is(err, j.err) {
			return j.reason
		}
	}
	if errors.Is(err, jwt.ErrTokenInvalidClaims) || errors.Is(err, jwt.ErrTokenRequiredClaimMissing) {
		return reasonClaims
	}
	return reasonMalformed
}
