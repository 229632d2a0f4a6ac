package ratelimit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
)

// maxText bounds what is said for people, in bytes.
const maxText = 1024

// settings of the command.
type settings struct {
	operator.Settings
	account, who, reason string
	limit                Limit
	verb                 string
}

// RegisterFlags implements config.Part.
func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	s.Settings.RegisterFlags(fs)
	if s.verb == "list" {
		return
	}
	fs.StringVar(&s.account, "account", "", "`name` of the account, as its tokens have it in sub")
	if s.verb == "remove" {
		return
	}
	fs.Float64Var(&s.limit.Rate, "rate", -1, "triggers a `second` over the whole deployment; 0 is no limit for this account")
	fs.IntVar(&s.limit.Burst, "burst", 0, "`triggers` that may come at once; 0 is what two seconds bring")
	fs.StringVar(&s.who, "who", operator.Who(), "`name` of whoever says so, for others to read")
	fs.StringVar(&s.reason, "reason", "", "`text` that says why, for others to read")
}

// Validate implements config.Part.
func (s *settings) Validate() error {
	faults := []error{s.Settings.Validate()}
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(s.verb != "list" && s.account == "", "-account is missing")
	fault(len(s.who) > maxText || len(s.reason) > maxText, "-who and -reason: at most 1024 bytes each")
	switch {
	case s.verb != "set":
	case s.limit.Rate == -1:
		faults = append(faults, errors.New("-rate is missing: triggers a second, or 0 for no limit"))
	default:
		faults = append(faults, s.limit.Validate())
	}
	return errors.Join(faults...)
}

// Command is `ingress limit`, with list, remove, or the flags of a limit to set. It returns the exit code: 0 done, 1 failed, 2 wrong usage.
func Command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	s := &settings{verb: "set"}
	if len(args) > 0 && (args[0] == "list" || args[0] == "remove" || args[0] == "set") {
		s.verb, args = args[0], args[1:]
	}
	c := operator.Console{Program: "ingress", Command: "limit " + s.verb, Environ: environ, Stdout: stdout, Stderr: stderr}
	return c.Run(func(c operator.Console) error {
		if err := c.Load(args, s); err != nil {
			return err
		}
		return c.Open(ctx, s.Settings, func(ctx context.Context, b *broker.Broker) error { return s.run(ctx, b, c.Stdout) })
	})
}

func (s *settings) run(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	switch s.verb {
	case "list":
		return list(ctx, b, stdout)
	case "remove":
		return s.remove(ctx, b, stdout)
	}
	if err := Set(ctx, b, Entry{Account: s.account, Limit: s.limit, Who: s.who, Reason: s.reason, At: time.Now()}); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "account %q: %s, over all ingresses together; they know it in a second or two\n", s.account, s.limit)
	return nil
}

func (s *settings) remove(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	had, err := Remove(ctx, b, s.account)
	if err != nil {
		return err
	}
	if !had {
		fmt.Fprintf(stdout, "account %q had no limit of its own\n", s.account)
		return nil
	}
	fmt.Fprintf(stdout, "account %q has the limit of -rate-limit again\n", s.account)
	return nil
}

func list(ctx context.Context, b *broker.Broker, stdout io.Writer) error {
	entries, err := List(ctx, b)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		fmt.Fprintln(stdout, "no account has a limit of its own")
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tLIMIT\tSINCE\tWHO\tREASON")
	for _, e := range entries { // names are other people's text: %q keeps them on their lines
		limit := e.Limit.String()
		if e.Fault != nil {
			limit = "does not count: " + e.Fault.Error()
		}
		fmt.Fprintf(w, "%q\t%s\t%s\t%q\t%q\n", e.Account, limit, e.At.UTC().Format(time.RFC3339), e.Who, e.Reason)
	}
	return w.Flush()
}
