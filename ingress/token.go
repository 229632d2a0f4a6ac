package ingress

import (
	"context"
	"io"
	"path/filepath"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/revocation"
)

// Keys are the files of a keys directory.
type Keys struct {
	Signing string // Ed25519 private key, PEM, mode 0600
	Public  string // JWKS
}

// KeysIn says where the keys of dir are, or would be.
func KeysIn(dir string) Keys {
	return Keys{Signing: filepath.Join(dir, auth.SigningKeyFile), Public: filepath.Join(dir, auth.KeysFile)}
}

// EnsureKeys makes a signing key and its JWKS in dir, unless they are there.
func EnsureKeys(dir string) error { return auth.EnsureKeys(dir) }

// IssueToken makes a token from a signing key. scope is words separated by spaces: trigger, runtime, admin.
func IssueToken(signingKey, account, scope string, ttl time.Duration) (string, error) {
	signer, err := auth.LoadSigner(signingKey)
	if err != nil {
		return "", err
	}
	return signer.Issue(account, scope, ttl)
}

// KeysCommand is the verb keys: it makes a signing key and its JWKS in a directory, unless they are there, adds and retires keys, and returns the exit code.
func KeysCommand(args []string, stdout, stderr io.Writer) int {
	return auth.KeysCommand(args, stdout, stderr)
}

// TokenCommand is the verb token: it prints a token alone, and returns the exit code.
func TokenCommand(args []string, stdout, stderr io.Writer) int {
	return auth.TokenCommand(args, stdout, stderr)
}

// RevokeCommand is the verb revoke: it takes tokens back, before they expire, and returns the exit code.
func RevokeCommand(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return revocation.Command(ctx, args, environ, auth.Inspect, stdin, stdout, stderr)
}
