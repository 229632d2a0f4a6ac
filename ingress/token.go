package ingress

import (
	"io"
	"path/filepath"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/auth"
)

// Keys are the files that EnsureKeys makes.
type Keys struct {
	Signing string // Ed25519 private key, PEM, mode 0600
	Public  string // JWKS
}

// EnsureKeys makes a signing key and its JWKS in dir, unless they are there.
func EnsureKeys(dir string) (Keys, error) {
	keys := Keys{Signing: filepath.Join(dir, auth.SigningKeyFile), Public: filepath.Join(dir, auth.KeysFile)}
	return keys, auth.EnsureKeys(dir)
}

// IssueToken makes a token from a signing key. scope is words separated by spaces: trigger, runtime, admin.
func IssueToken(signingKey, account, scope string, ttl time.Duration) (string, error) {
	signer, err := auth.LoadSigner(signingKey)
	if err != nil {
		return "", err
	}
	return signer.Issue(account, scope, ttl)
}

// TokenCommand is the verb token: it prints a token alone, and returns the exit code.
func TokenCommand(args []string, stdout, stderr io.Writer) int {
	return auth.TokenCommand(args, stdout, stderr)
}
