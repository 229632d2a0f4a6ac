package auth

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/triggerd/triggerd/ingress/internal/revocation"
	"github.com/triggerd/triggerd/shared/strictjson"
)

const (
	// maxTokenDepth is how deep the JSON of a token may be nested. Claims of others are skipped, not read.
	maxTokenDepth = 8
	// maxMembers is how many members the header or the claims may have.
	maxMembers = 64
	// maxUnixTime is the end of the year 9999: beyond it a time is a mistake or an attack.
	maxUnixTime = 253402300799
)

// segments is a token taken apart.
type segments struct {
	signed    string // what the signature covers
	header    []byte
	claims    []byte
	signature []byte
}

// strict refuses base64 with bits left over: one token, one spelling.
var strict = base64.RawURLEncoding.Strict()

// split decodes the three segments. A third dot is no base64, however many follow it.
func split(token string) (s segments, err error) {
	header, rest, ok1 := strings.Cut(token, ".")
	claims, signature, ok2 := strings.Cut(rest, ".")
	// The decoder skips line breaks; a token has none.
	if !ok1 || !ok2 || strings.ContainsAny(token, "\r\n") {
		return s, errForm
	}
	s.signed = token[:len(header)+1+len(claims)]
	for _, part := range []struct {
		to   *[]byte
		from string
	}{{&s.header, header}, {&s.claims, claims}, {&s.signature, signature}} {
		if *part.to, err = strict.DecodeString(part.from); err != nil || len(*part.to) == 0 {
			return s, errForm
		}
	}
	return s, nil
}

// headerNames and claimNames are those that mean something here. A token that has one of them in another case means it for a reader that does not
// tell cases apart, and is refused.
var (
	headerNames = []string{"alg", "kid", "typ", "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#s256", "zip", "enc"}
	claimNames  = []string{"sub", "iss", "scope", "aud", "exp", "nbf", "iat", "jti"}
)

// header is the part of a JOSE header that matters here.
type header struct{ algorithm, keyID string }

func parseHeader(data []byte) (h header, err error) {
	err = members(data, headerNames, func(name string, value []byte) error {
		switch name {
		case "alg":
			return text(&h.algorithm, value)
		case "kid":
			return text(&h.keyID, value)
		case "typ":
			return checkType(value)
		case "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc":
			return errHeader
		}
		return nil
	})
	return h, err
}

// checkType refuses tokens that were issued as something else (RFC 8725, 3.11).
func checkType(value []byte) error {
	var typ string
	if err := text(&typ, value); err != nil {
		return err
	}
	if !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, "at+jwt") {
		return errType
	}
	return nil
}

// claims are the claims that matter here. They implement jwt.Claims, so that the library judges them.
type claims struct {
	subject, issuer, scope   string
	tokenID                  string // jti; empty: there is none
	audience                 jwt.ClaimStrings
	expires, notBefore, from *jwt.NumericDate
}

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.notBefore, nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.from, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }
func (c *claims) GetIssuer() (string, error)                   { return c.issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.subject, nil }

func parseClaims(data []byte) (*claims, error) {
	c := new(claims)
	if err := members(data, claimNames, c.member); err != nil {
		return nil, err
	}
	if !validAccount(c.subject) {
		return nil, errAccount
	}
	return c, nil
}

func (c *claims) member(name string, value []byte) error {
	switch name {
	case "sub":
		return text(&c.subject, value)
	case "iss":
		return text(&c.issuer, value)
	case "scope":
		return text(&c.scope, value)
	case "jti":
		return c.id(value)
	case "aud":
		return texts(&c.audience, value)
	case "exp":
		return moment(&c.expires, value)
	case "nbf":
		return moment(&c.notBefore, value)
	case "iat":
		return moment(&c.from, value)
	}
	return nil
}

// id reads a jti. One that is empty could not be revoked, and a very long one is nobody's.
func (c *claims) id(value []byte) error {
	if err := text(&c.tokenID, value); err != nil {
		return err
	}
	if revocation.CheckTokenID(c.tokenID) != nil {
		return errTokenID
	}
	return nil
}

// members hands out the members of the object in data and refuses a name given twice, in whatever cases and whoever it is meant for. known are the
// names, in lower case, that may not come in another one.
func members(data []byte, known []string, member func(name string, value []byte) error) error {
	seen := make(map[string]struct{}, 8)
	return strictjson.Object(data, maxTokenDepth, func(rawName, value []byte) error {
		name := string(rawName)
		folded := fold(name)
		if _, twice := seen[folded]; twice || len(seen) == maxMembers {
			return errTwice
		}
		seen[folded] = struct{}{}
		if name != folded && name != headerThumbprint && slices.Contains(known, folded) {
			return errCase
		}
		return member(name, value)
	})
}

// headerThumbprint is the one registered name that is not in lower case.
const headerThumbprint = "x5t#S256"

// fold makes one of all names that a reader could take for each other who does not tell cases apart: there are letters with two lower cases.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

func text(to *string, value []byte) error {
	s, ok := strictjson.String(value)
	if !ok {
		return errMember
	}
	*to = string(s)
	return nil
}

// texts reads a string or an array of strings.
func texts(to *jwt.ClaimStrings, value []byte) error {
	if value[0] == '[' {
		return strictjson.Array(value, 1, func(element []byte) error { return texts(to, element) })
	}
	var one string
	if err := text(&one, value); err != nil {
		return err
	}
	*to = append(*to, one)
	return nil
}

// moment reads whole seconds since 1970. RFC 7519 allows fractions, and so exponents; who reads those, and to which second, depends on the reader.
func moment(to **jwt.NumericDate, value []byte) error {
	if c := value[0]; c != '-' && (c < '0' || c > '9') {
		return errMember
	}
	seconds, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil || seconds > maxUnixTime {
		return errTime
	}
	*to = jwt.NewNumericDate(time.Unix(int64(seconds), 0))
	return nil
}
