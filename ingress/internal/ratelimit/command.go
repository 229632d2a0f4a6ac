package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
)

// DefaultTimeout bounds a command.
const DefaultTimeout = 15 * time.Second

// retryEvery is between attempts to open a deployment whose broker does not answer.
const retryEvery = 250 * time.Millisecond

// maxText bounds what is said for people, in bytes.
const maxText = 1024

// settings of the command.
type settings struct {
	process.Remote
	timeout              time.Duration
	account, who, reason string
	limit                Limit
	verb                 string
}

// RegisterFlags implements config.Part.
func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	s.Remote.RegisterFlags(fs)
	fs.DurationVar(&s.timeout, "timeout", DefaultTimeout, "longest `time` that the command may take")
	if s.verb == "list" {
		return
	}
	fs.StringVar(&s.account, "account", "", "`name` of the account, as its tokens have it in sub")
	if s.verb == "remove" {
		return
	}
	fs.Float64Var(&s.limit.Rate, "rate", -1, "triggers a `second` over the whole deployment; 0 is no limit for this account")
	fs.IntVar(&s.limit.Burst, "burst", 0, "`triggers` that may come at once; 0 is what two seconds bring")
	fs.StringVar(&s.who, "who", who(), "`name` of whoever says so, for others to read")
	fs.StringVar(&s.reason, "reason", "", "`text` that says why, for others to read")
}

// Validate implements config.Part.
func (s *settings) Validate() error {
	faults := []error{s.Remote.Validate()}
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(s.timeout <= 0, "-timeout is not over 0")
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

// who is the person who types, as far as the system knows.
func who() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return cmp.Or(u.Username, "unknown")
}

// Command is `ingress limit`, with list, remove, or the flags of a limit to set. It returns the exit code: 0 done, 1 failed, 2 wrong usage.
func Command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	s := &settings{verb: "set"}
	if len(args) > 0 && (args[0] == "list" || args[0] == "remove" || args[0] == "set") {
		s.verb, args = args[0], args[1:]
	}
	switch err := s.load(args, environ, stdout); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 2
	}
	if err := s.run(ctx, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "limit %s: %v\n", s.verb, err)
		return 1
	}
	return 0
}

// load takes of the environment what it knows: the variables of the ingress beside which an operator types are there too.
func (s *settings) load(args, environ []string, help io.Writer) error {
	fs := flag.NewFlagSet("limit", flag.ContinueOnError)
	s.RegisterFlags(fs)
	known := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { known[config.Variable(f.Name)] = true })
	environ = slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		variable, _, _ := strings.Cut(entry, "=")
		return !known[variable]
	})
	return config.Load("ingress limit "+s.verb, args, environ, help, s)
}

func (s *settings) run(ctx context.Context, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	b, closed, err := s.open(ctx, stderr)
	if err != nil {
		return err
	}
	defer closed()
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

// open connects and opens the deployment, until ctx ends.
func (s *settings) open(ctx context.Context, stderr io.Writer) (b *broker.Broker, closed func(), err error) {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	conn, err := s.Dial(ctx, "ingress limit", log)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	for {
		if b, err = broker.Open(ctx, conn); err == nil {
			return b, conn.Close, nil
		}
		if !broker.Away(err) {
			break
		}
		select {
		case <-ctx.Done():
			conn.Close()
			return nil, nil, fmt.Errorf("open deployment: broker does not answer within %s: %w", s.timeout, err)
		case <-time.After(retryEvery):
		}
	}
	conn.Close()
	return nil, nil, fmt.Errorf("open deployment: %w", err)
}
