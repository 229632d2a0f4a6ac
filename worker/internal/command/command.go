// Package command is what an operator types to a worker's binary besides running it: look at a deployment, pause and resume partitions, change
// the limits that are part of the logs, take over a log that was restored.
//
// # Usage
//
//	if code, ok := command.Run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); ok {
//		os.Exit(code)
//	}
//
// # Ordering
//
// A command connects, opens the deployment without making anything in it (so it needs no -partitions), does one thing and returns. What it says it
// has done is stored by the broker's leader.
//
// # Failure
//
// 0 is done, 1 failed, 2 wrong usage; 3 is for inspect, which has looked and found that something is wrong. A broker that is away, or elects, is tried
// until -timeout. A failure says what was done before it.
//
// # Concurrency
//
// There is nothing global: commands may run at once.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// DefaultTimeout bounds a command that asks and tells.
const DefaultTimeout = 15 * time.Second

// io is where a command talks.
type console struct {
	environ        []string
	stdout, stderr io.Writer
}

// verbs are the commands by name.
func verbs() map[string]func(ctx context.Context, args []string, c console) error {
	return map[string]func(context.Context, []string, console) error{
		"pause": pause, "resume": resume, "inspect": inspect, "adopt": adoptLog, "configure": configure,
	}
}

// Names are the commands' names, in order.
func Names() (names []string) {
	for name := range verbs() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// errUsage marks wrong usage.
var errUsage = errors.New("wrong usage")

// Run runs the command that args begin with, and returns the exit code. ok is false if there is none of that name: then nothing was done.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	run, ok := verbs()[args[0]]
	if !ok {
		return 0, false
	}
	switch err := run(ctx, args[1:], console{environ, stdout, stderr}); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0, true
	case errors.Is(err, errWrong): // and was shown
		return 3, true
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
		return 2, true
	default:
		fmt.Fprintf(stderr, "%s: %v\n", args[0], err)
		return 1, true
	}
}

// settings are those that all commands have.
type settings struct {
	process.Remote
	timeout time.Duration
}

// RegisterFlags implements config.Part.
func (s *settings) RegisterFlags(fs *flag.FlagSet) {
	s.Remote.RegisterFlags(fs)
	fs.DurationVar(&s.timeout, "timeout", DefaultTimeout, "longest `time` that the command may take")
}

// Validate implements config.Part.
func (s *settings) Validate() error {
	if s.timeout <= 0 {
		return errors.Join(s.Remote.Validate(), fmt.Errorf("-timeout is %s, not over 0", s.timeout))
	}
	return s.Remote.Validate()
}

// load fills parts. Of the environment it takes what it knows, because the variables of the worker beside which an operator types are there too.
func (c console) load(name string, args []string, parts ...config.Part) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	for _, p := range parts {
		p.RegisterFlags(fs)
	}
	known := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { known[config.Variable(f.Name)] = true })
	environ := slices.DeleteFunc(slices.Clone(c.environ), func(entry string) bool {
		variable, _, _ := strings.Cut(entry, "=")
		return !known[variable]
	})
	err := config.Load("worker "+name, args, environ, c.stdout, parts...)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}

// open connects and opens the deployment, until ctx ends. close ends the connection.
func (s *settings) open(ctx context.Context, c console, name string) (b *broker.Broker, close func(), err error) {
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	conn, err := s.Dial(ctx, "worker "+name, log) // a worker by name, so that its key will do
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	var trouble telemetry.Trouble
	for {
		at := conn.ConnectedUrlRedacted()
		if b, err = broker.Open(ctx, conn); err == nil {
			return b, conn.Close, nil
		}
		if !broker.Away(err) {
			conn.Close()
			return nil, nil, fmt.Errorf("open deployment at %s: %w", at, err)
		}
		if ctx.Err() == nil {
			trouble.Again(log, slog.LevelWarn, "broker does not answer, trying again", "url", at, "error", err)
		}
		select {
		case <-ctx.Done():
			conn.Close()
			return nil, nil, fmt.Errorf("open deployment at %s, for %s: %s", at, s.timeout, unanswered("", err))
		case <-time.After(retryEvery):
		}
	}
}

// retryEvery is the pause between attempts to open a deployment.
const retryEvery = 250 * time.Millisecond

// one is the setting -partition, which has no default.
type one struct{ partition int }

// RegisterFlags implements config.Part.
func (o *one) RegisterFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.partition, "partition", -1, "`number` of the partition")
}

// Validate implements config.Part.
func (o *one) Validate() error {
	if o.partition < 0 {
		return errors.New("-partition is missing: say which one, from 0")
	}
	return nil
}

// within refuses a partition that the deployment does not have.
func (o *one) within(b *broker.Broker) error {
	if o.partition >= b.Partitions() {
		return fmt.Errorf("%w: -partition is %d, the deployment has 0 to %d", errUsage, o.partition, b.Partitions()-1)
	}
	return nil
}

// who is the person who types, as far as the system knows.
func who() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "unknown"
	}
	return u.Username
}
