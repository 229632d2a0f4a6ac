package auth

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// TokenCommand is `ingress token`: it prints a token alone on stdout, and returns the
// process's exit code (0 done, 1 failed, 2 wrong usage).
func TokenCommand(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	flags.SetOutput(stderr)
	keyFile := flags.String("signing-key", "", "Ed25519 private key to sign with (PEM, PKCS#8)")
	var o Order
	flags.StringVar(&o.Account, "account", "", "account that the token is for")
	flags.StringVar(&o.Scope, "scope", "trigger", "what it may do: trigger, runtime, admin, separated by spaces")
	flags.DurationVar(&o.TTL, "ttl", 24*time.Hour, "how long it is valid")
	flags.StringVar(&o.TokenID, "jti", "", "`id` by which it can be revoked; a random one if empty")
	flags.StringVar(&o.Audience, "audience", DefaultAudience, "its aud, as the ingresses' -token-audience")
	flags.StringVar(&o.Issuer, "issuer", "", "its iss, as the ingresses' -token-issuer; none if empty")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *keyFile == "" || o.Account == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "token: -signing-key and -account are mandatory, and nothing else follows the flags")
		return 2
	}
	return printToken(*keyFile, o, stdout, stderr)
}

func printToken(keyFile string, o Order, stdout, stderr io.Writer) int {
	signer, err := LoadSigner(keyFile)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	token, err := signer.Sign(o)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if _, err := fmt.Fprintln(stdout, token); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// checkScope refuses an empty list and words that are no scope.
func checkScope(scope string) error {
	if strings.TrimSpace(scope) == "" {
		return errors.New("scope is empty")
	}
	for word := range strings.FieldsSeq(scope) {
		if scopeOf(word) == 0 {
			return fmt.Errorf("scope %q is none of trigger, runtime, admin", word)
		}
	}
	return nil
}
