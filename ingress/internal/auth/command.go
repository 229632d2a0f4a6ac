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
	account := flags.String("account", "", "account that the token is for")
	scope := flags.String("scope", "trigger", "what it may do: trigger, runtime, admin, separated by spaces")
	ttl := flags.Duration("ttl", 24*time.Hour, "how long it is valid")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *keyFile == "" || *account == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "token: -signing-key and -account are mandatory, and nothing else follows the flags")
		return 2
	}
	return printToken(*keyFile, *account, *scope, *ttl, stdout, stderr)
}

func printToken(keyFile, account, scope string, ttl time.Duration, stdout, stderr io.Writer) int {
	signer, err := LoadSigner(keyFile)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	token, err := signer.Issue(account, scope, ttl)
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
