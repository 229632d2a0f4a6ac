package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/triggerd/triggerd/ingress/internal/revocation"
)

// Names of the files that [EnsureKeys] makes.
const (
	SigningKeyFile = "signing.pem" // PKCS#8, mode 0600
	KeysFile       = "jwks.json"
)

const pemType = "PRIVATE KEY"

// EnsureKeys makes an Ed25519 signing key and its JWKS in dir, once: files that
// exist are never touched, so keys survive restarts and an operator may replace either. Safe to call from several
// processes at once.
func EnsureKeys(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, SigningKeyFile)
	if err := createKey(path); err != nil {
		return fmt.Errorf("create signing key: %w", err)
	}
	signer, err := LoadSigner(path)
	if err != nil {
		return err
	}
	_, err = createOnce(filepath.Join(dir, KeysFile), signer.keySet(), 0o644)
	return err
}

func createKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	_, err = createOnce(path, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), 0o600)
	return err
}

// Signer issues tokens. Safe for concurrent use.
type Signer struct {
	private ed25519.PrivateKey
	keyID   string
	now     func() time.Time
}

// LoadSigner reads an Ed25519 private key (PEM, PKCS#8).
func LoadSigner(path string) (*Signer, error) {
	data, err := readLimited(path, maxKeysDocument)
	if err != nil {
		return nil, fmt.Errorf("load signing key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("load signing key: %s holds no PEM block of type %s", path, pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load signing key: %s is not PKCS#8", path) // the cause could describe the key
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("load signing key: %s is not an Ed25519 key", path)
	}
	return &Signer{private: private, keyID: thumbprint(private), now: time.Now}, nil
}

// thumbprint names a key by what it is (RFC 7638), so that whoever has the private key
// alone knows the id too.
func thumbprint(private ed25519.PrivateKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + publicText(private) + `"}`))
	return strict.EncodeToString(sum[:])
}

func publicText(private ed25519.PrivateKey) string {
	return strict.EncodeToString(private.Public().(ed25519.PublicKey))
}

// keySet is the JWKS with the signer's public key.
func (s *Signer) keySet() []byte {
	data, _ := json.MarshalIndent(map[string]any{"keys": []json.RawMessage{s.public()}}, "", "  ") // what is encoded already always encodes
	return append(data, '\n')
}

// public is the JWK of the signer's public key.
func (s *Signer) public() json.RawMessage {
	data, _ := json.Marshal(map[string]string{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": s.keyID, "x": publicText(s.private),
	}) // a map of strings always encodes
	return data
}

// Order is a token to be issued.
type Order struct {
	Account  string        // 1 to 256 bytes without control characters
	Scope    string        // words separated by spaces: trigger, runtime, admin
	TTL      time.Duration // a second or more, from now
	TokenID  string        // jti; empty: a random one
	Audience string        // empty: DefaultAudience
	Issuer   string        // iss; empty: none
}

// Issue makes a token for account with the given scopes (words separated by spaces), valid from now for ttl.
func (s *Signer) Issue(account, scope string, ttl time.Duration) (string, error) {
	return s.Sign(Order{Account: account, Scope: scope, TTL: ttl})
}

// Sign makes a token. Unlike the gate it refuses scopes that do not exist: whoever types one means something by it.
func (s *Signer) Sign(o Order) (string, error) {
	if !validAccount(o.Account) {
		return "", errors.New("issue token: account must be 1 to 256 bytes without control characters")
	}
	if err := checkScope(o.Scope); err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	if o.TTL < time.Second {
		return "", errors.New("issue token: ttl must be a second or more")
	}
	id := cmp.Or(o.TokenID, rand.Text())
	if err := revocation.CheckTokenID(id); err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	now := s.now()
	claims := jwt.MapClaims{
		"sub": o.Account, "scope": o.Scope, "aud": cmp.Or(o.Audience, DefaultAudience),
		"iat": now.Unix(), "exp": now.Add(o.TTL).Unix(), "jti": id,
	}
	if o.Issuer != "" {
		claims["iss"] = o.Issuer
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"] = s.keyID
	return token.SignedString(s.private)
}
