package revocation

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
)

// Read says what a token is called and when it expires, without judging it: auth.Inspect.
type Read func(token string) (jti string, expires time.Time, err error)

// order is what the command can be told.
type order struct {
	operator.Settings
	jti, tokenFile, until string
	who, reason           string
	undo, list            bool

	read  Read
	stdin io.Reader
	end   time.Time // what -until, or the token, says; zero: nothing
}

// RegisterFlags implements config.Part.
func (o *order) RegisterFlags(fs *flag.FlagSet) {
	o.Settings.RegisterFlags(fs)
	fs.StringVar(&o.jti, "jti", "", "`id` of the token, its jti")
	fs.StringVar(&o.tokenFile, "token-file", "", "`file` with the token itself, - for the standard input, instead of -jti and -until")
	fs.StringVar(&o.until, "until", "", "`when` the token expires, as 2027-01-31T00:00:00Z, or how soon, as 720h; the revocation goes after that; empty: it stays until -undo")
	fs.StringVar(&o.who, "who", operator.Who(), "`name` of whoever decides, for others to read")
	fs.StringVar(&o.reason, "reason", "", "`text` that says why, for others to read")
	fs.BoolVar(&o.undo, "undo", false, "let the token pass again")
	fs.BoolVar(&o.list, "list", false, "print what is revoked")
}

// Validate implements config.Part.
func (o *order) Validate() error {
	faults := []error{o.Settings.Validate()}
	fault := func(wrong bool, what string) {
		if wrong {
			faults = append(faults, errors.New(what))
		}
	}
	fault(o.list && (o.jti != "" || o.tokenFile != "" || o.until != "" || o.undo), "-list goes with none of -jti, -token-file, -until, -undo")
	fault(!o.list && (o.jti == "") == (o.tokenFile == ""), "say which token: -jti or -token-file, one of them")
	fault(o.undo && o.until != "", "-undo and -until: which of them?")
	fault(o.tokenFile != "" && o.until != "", "-token-file and -until: the token says when it expires")
	if o.jti != "" {
		faults = append(faults, CheckTokenID(o.jti))
	}
	var err error
	if o.end, err = parseUntil(o.until); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func parseUntil(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(d).Truncate(time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("-until is neither a time like 2027-01-31T00:00:00Z nor a duration like 720h")
	}
	return t, nil
}

// Command is `ingress revoke`, and returns the exit code: 0 done, 1 failed, 2 wrong usage. read takes a token apart; stdin is for -token-file -.
func Command(ctx context.Context, args, environ []string, read Read, stdin io.Reader, stdout, stderr io.Writer) int {
	o := &order{read: read, stdin: stdin}
	c := operator.Console{Program: "ingress", Command: "revoke", Environ: environ, Stdout: stdout, Stderr: stderr}
	return c.Run(func(c operator.Console) error {
		if err := c.Load(args, o); err != nil {
			return err
		}
		if err := o.readToken(); err != nil { // before the time runs, for it may be typed
			return err
		}
		return c.Open(ctx, o.Settings, func(ctx context.Context, b *broker.Broker) error { return o.run(ctx, b, c.Stdout) })
	})
}

func (o *order) run(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	switch {
	case o.list:
		return o.print(ctx, b, stdout)
	case o.undo:
		return o.takeBack(ctx, b, stdout)
	}
	return o.revoke(ctx, b, stdout)
}

// maxTokenFile bounds what is read of a token's file, in bytes.
const maxTokenFile = 64 << 10

// readToken takes jti and exp from the token, if that is what was given.
func (o *order) readToken() error {
	if o.tokenFile == "" {
		return nil
	}
	data, err := readFile(o.tokenFile, o.stdin)
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	if o.jti, o.end, err = o.read(strings.TrimSpace(data)); err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	if o.jti == "" {
		return errors.New("read token: it has no jti, and so cannot be revoked by itself: take the key away that signed it (deploy/TOKENS.md)")
	}
	return nil
}

func readFile(name string, stdin io.Reader) (string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	return string(data), err
}

func (o *order) revoke(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	err := Revoke(ctx, b, Revocation{TokenID: o.jti, Until: o.end, Who: o.who, Reason: o.reason})
	if err != nil {
		return allowed(err)
	}
	_, err = fmt.Fprintf(stdout, "token %q is revoked %s: ingresses that are connected refuse it now, others when they are again\n", o.jti, ending(o.end))
	return err
}

func ending(end time.Time) string {
	if end.IsZero() {
		return "until this is undone"
	}
	return "until " + end.UTC().Format(time.RFC3339)
}

func (o *order) takeBack(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	was, err := Undo(ctx, b, o.jti)
	if err != nil {
		return allowed(err)
	}
	said := "token %q passes again, unless it has expired\n"
	if !was {
		said = "token %q was not revoked\n"
	}
	_, err = fmt.Fprintf(stdout, said, o.jti)
	return err
}

// print writes a line for each: jti, end, when, who, why. All but the times are quoted, for they may hold anything.
func (o *order) print(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	all, err := List(ctx, b)
	if err != nil {
		return allowed(err)
	}
	out := bufio.NewWriter(stdout)
	for _, r := range all {
		fmt.Fprintf(out, "%q\t%s\tsince %s\tby %q\t%q\n", r.TokenID, ending(r.Until), r.At.UTC().Format(time.RFC3339), r.Who, r.Reason)
	}
	return out.Flush()
}

// allowed says what to do where the broker does not let this user.
func allowed(err error) error {
	if errors.Is(err, broker.ErrNotAllowed) {
		return fmt.Errorf("%w: revoking is the operator's, so use that key (-nats-nkey)", err)
	}
	return err
}
