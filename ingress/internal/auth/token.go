package auth

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/triggerd/triggerd/shared/strictjson"
)

var (
	errTooLong   = errors.New("token too long")
	errScheme    = errors.New("authorization is neither JWT nor Bearer")
	errForm      = errors.New("token is not three segments of base64url")
	errKey       = errors.New("no key with this id")
	errAlgorithm = errors.New("algorithm is not the key's")
	errHeader    = errors.New("header demands another way of verifying")
	errType      = errors.New("token is not of type JWT")
	errTwice     = errors.New("a name is given twice")
	errMember    = errors.New("a member is of the wrong type")
	errTime      = errors.New("a time is out of range")
	errAccount   = errors.New("subject is no account name")
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

// header is the part of a JOSE header that matters here.
type header struct{ algorithm, keyID string }

func parseHeader(data []byte) (h header, err error) {
	err = members(data, func(name string, value []byte) error {
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
	if err := members(data, c.member); err != nil {
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

// members hands out the members of the object in data and refuses a name given twice, whoever it is meant for.
func members(data []byte, member func(name string, value []byte) error) error {
	seen := make(map[string]struct{}, 8)
	return strictjson.Object(data, maxTokenDepth, func(rawName, value []byte) error {
		name := string(rawName)
		if _, twice := seen[name]; twice || len(seen) == maxMembers {
			return errTwice
		}
		seen[name] = struct{}{}
		return member(name, value)
	})
}

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

// moment reads seconds since 1970, fractions allowed.
func moment(to **jwt.NumericDate, value []byte) error {
	if c := value[0]; c != '-' && (c < '0' || c > '9') {
		return errMember
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || seconds < 0 || seconds > maxUnixTime {
		return errTime
	}
	whole, fraction := math.Modf(seconds)
	*to = jwt.NewNumericDate(time.Unix(int64(whole), int64(fraction*1e9)))
	return nil
}
