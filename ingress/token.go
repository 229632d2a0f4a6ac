package ingress

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/auth"
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

// KeysCommand is the verb keys: it makes a signing key and its JWKS in a directory, unless they are there, and returns the exit code.
func KeysCommand(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("keys", flag.ContinueOnError)
	fs.SetOutput(stderr)
	dir := fs.String("dir", "keys", "`directory` for the files")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || fs.NArg() > 0 {
		return 2
	}
	if err := EnsureKeys(*dir); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	keys := KeysIn(*dir)
	fmt.Fprintf(stdout, "%s\n%s\n", keys.Signing, keys.Public)
	return 0
}

// TokenCommand is the verb token: it prints a token alone, and returns the exit code.
func TokenCommand(args []string, stdout, stderr io.Writer) int {
	return auth.TokenCommand(args, stdout, stderr)
}
