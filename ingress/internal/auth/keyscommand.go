package auth

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

const keysUsage = `Usage: ingress keys [add | retire -kid ID | list] [-dir DIR]

  (none)  make DIR/signing.pem and DIR/jwks.json, unless they are there
  add     make DIR/next.pem, and add its public key to DIR/jwks.json: tokens that it will sign are taken from then on
  retire  take the key with this id off DIR/jwks.json: tokens that it signed are refused from then on
  list    print the ids of the keys in DIR/jwks.json, and which file signs with them

`

// KeysCommand is `ingress keys`, and returns the process's exit code (0 done, 1 failed, 2 wrong usage).
func KeysCommand(args []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("keys", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, keysUsage); flags.PrintDefaults() }
	dir := flags.String("dir", "keys", "`directory` of the files")
	keyID := flags.String("kid", "", "`id` of the key to retire")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 || (verb == "retire") != (*keyID != "") {
		fmt.Fprintln(stderr, "keys: retire needs -kid, nothing else takes it, and nothing follows the flags")
		return 2
	}
	do, ok := map[string]func() error{
		"":       func() error { return makeKeys(*dir, stdout) },
		"add":    func() error { return addKey(*dir, stdout) },
		"retire": func() error { return retireKey(*dir, *keyID, stdout) },
		"list":   func() error { return listKeys(*dir, stdout) },
	}[verb]
	if !ok {
		fmt.Fprintf(stderr, "keys: unknown verb %q\n%s", verb, keysUsage)
		return 2
	}
	if err := do(); err != nil {
		fmt.Fprintf(stderr, "keys: %v\n", err)
		return 1
	}
	return 0
}
