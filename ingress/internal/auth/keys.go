package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

const (
	minRSABits = 2048
	maxRSABits = 4096 // larger ones cost more than a millisecond per token, whoever sends it
	maxRSAExp  = 65537
	minHMAC    = 32  // bytes
	maxKeys    = 256 // of a set
)

// key verifies with one algorithm and no other.
type key struct {
	method   jwt.SigningMethod
	material any // what method.Verify takes
}

// webKey is one JWK (RFC 7517) as the file spells it. The file is the operator's, so the lenient decoder of the
// standard library is good enough here.
type webKey struct {
	Type      string   `json:"kty"`
	ID        string   `json:"kid"`
	Algorithm string   `json:"alg"`
	Use       string   `json:"use"`
	KeyOps    []string `json:"key_ops"`
	Curve     string   `json:"crv"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
	N         string   `json:"n"`
	E         string   `json:"e"`
	K         string   `json:"k"`
	D         string   `json:"d"`
	End       any      `json:"exp"` // Unix time; some issuers say it
}

// jwks is what was read of a JWKS.
type jwks struct {
	keys       map[string]key // by kid
	passedOver int            // those that are for other purposes, or of a kind that is not known here
	secrets    int            // those that can sign as well as verify
	end        float64        // the earliest exp of a key, Unix time; 0: none has one
}

// parseKeys reads a JWKS. Keys for other purposes and of kinds that are not known here are passed over, as the RFC wants it; a
// weak, malformed or doubled key makes the whole set an error, since the operator meant something by it.
func parseKeys(data []byte) (set jwks, err error) {
	var document struct {
		Keys []webKey `json:"keys"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return set, errors.New("parse key set: not a JWKS document") // the cause could quote a secret
	}
	set.keys = make(map[string]key, len(document.Keys))
	for i, wk := range document.Keys {
		if err := set.add(&wk); err != nil {
			return jwks{}, fmt.Errorf("parse key %d of the set: %w", i, err)
		}
	}
	if len(set.keys) == 0 {
		return jwks{}, errors.New("parse key set: no key to verify signatures with")
	}
	return set, nil
}

func (s *jwks) add(wk *webKey) error {
	k, ok, err := wk.parse()
	if err != nil {
		return err
	}
	if !ok {
		s.passedOver++
		return nil
	}
	if _, twice := s.keys[wk.ID]; twice {
		return errors.New("its kid is taken")
	}
	if len(s.keys) == maxKeys {
		return fmt.Errorf("over the limit of %d keys", maxKeys)
	}
	s.keys[wk.ID] = k
	if end, ok := wk.End.(float64); ok && end > 0 && (s.end == 0 || end < s.end) {
		s.end = end
	}
	if wk.Type == "oct" {
		s.secrets++
	}
	return nil
}

// parse makes a key; ok is false if it is none for us.
func (wk *webKey) parse() (k key, ok bool, err error) {
	if !wk.verifies() {
		return key{}, false, nil
	}
	if wk.D != "" {
		return key{}, false, errors.New("it is a private key")
	}
	if wk.foreign() {
		return key{}, false, nil
	}
	switch wk.Type {
	case "OKP":
		k, err = wk.edwards()
	case "EC":
		k, err = wk.elliptic()
	case "RSA":
		k, err = wk.rsa()
	case "oct":
		k, err = wk.secret()
	default:
		return key{}, false, nil
	}
	if err == nil && wk.Algorithm != "" && wk.Algorithm != k.method.Alg() {
		err = fmt.Errorf("alg is not %s, the only one for this type of key", k.method.Alg())
	}
	return k, err == nil, err
}

// foreign reports whether the key is for an algorithm or a curve that is not known here. Whoever publishes keys for many readers adds such ones, and
// must be able to take others away meanwhile.
func (wk *webKey) foreign() bool {
	switch wk.Algorithm {
	case "", "EdDSA", "ES256", "RS256", "HS256":
	default:
		return true
	}
	return wk.Type == "EC" && wk.Curve != "P-256" || wk.Type == "OKP" && wk.Curve != "Ed25519"
}

func (wk *webKey) verifies() bool {
	if wk.Use != "" && wk.Use != "sig" {
		return false
	}
	for _, op := range wk.KeyOps {
		if op == "verify" {
			return true
		}
	}
	return wk.KeyOps == nil
}

func (wk *webKey) edwards() (key, error) {
	x, err := strict.DecodeString(wk.X)
	if wk.Curve != "Ed25519" || err != nil || len(x) != ed25519.PublicKeySize {
		return key{}, errors.New("want x of 32 bytes and crv Ed25519")
	}
	return key{jwt.SigningMethodEdDSA, ed25519.PublicKey(x)}, nil
}

func (wk *webKey) elliptic() (key, error) {
	x, errX := strict.DecodeString(wk.X)
	y, errY := strict.DecodeString(wk.Y)
	if wk.Curve != "P-256" || errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return key{}, errors.New("want x and y of 32 bytes and crv P-256")
	}
	point := append(append([]byte{4}, x...), y...)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return key{}, errors.New("x and y are no point of P-256")
	}
	return key{jwt.SigningMethodES256, public}, nil
}

func (wk *webKey) rsa() (key, error) {
	n, errN := strict.DecodeString(wk.N)
	e, errE := strict.DecodeString(wk.E)
	if errN != nil || errE != nil || len(e) > 4 {
		return key{}, errors.New("want n and e as base64url")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return key{}, fmt.Errorf("want %d to %d bits, not %d", minRSABits, maxRSABits, bits)
	}
	if public.E < 3 || public.E%2 == 0 || public.E > maxRSAExp || public.N.Bit(0) == 0 {
		return key{}, errors.New("want an odd n and an odd e from 3 to 65537")
	}
	return key{jwt.SigningMethodRS256, public}, nil
}

func (wk *webKey) secret() (key, error) {
	k, err := strict.DecodeString(wk.K)
	if err != nil || len(k) < minHMAC {
		return key{}, fmt.Errorf("want k of %d bytes or more", minHMAC)
	}
	return key{jwt.SigningMethodHS256, k}, nil
}
