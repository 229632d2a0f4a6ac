// Package operator is what the commands that an operator types beside a running process have in common: how they are told what to do, reach the
// deployment, answer and end.
//
// # Usage
//
// A [Console] is what a command is typed into. The command is a function that is given a Console of its own, loads its settings, of which
// [Settings] are a part, and opens the deployment:
//
//	console := operator.Console{Program: "worker", Command: "pause", Environ: environ, Stdout: stdout, Stderr: stderr}
//	code := console.Run(func(c operator.Console) error {
//		if err := c.Load(args, &s); err != nil {
//			return err
//		}
//		return c.Open(ctx, s.Settings, func(ctx context.Context, b *broker.Broker) error { … })
//	})
//
// # Failure
//
// The exit code is 0 if the command is done or only asked for help, 2 if it was used wrongly, what an [Exit] says, and 1 for every other error.
// A broker that is away, or elects, is tried until -timeout.
//
// # Concurrency
//
// There is nothing global: commands may run at once, each in a Run of its own. What the Console of a running command writes may be written by
// several goroutines: one write is over before the next begins, to stdout or stderr, which may be the same. When Run has returned nothing is written
// any more.
package operator

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"sync"

	"github.com/triggerd/triggerd/shared/config"
)

// ErrUsage marks wrong usage, which ends a command with 2. What it is wrapped with is all that is said.
var ErrUsage = errors.New("wrong usage")

// Exit is the error of a command that has said everything and ends with a code of its own.
type Exit int

// Error implements error.
func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Console is what an operator types a command into.
type Console struct {
	Program        string // the process beside which it is typed, whose key will do: worker, ingress
	Command        string // its name, as in "limit set"
	Environ        []string
	Stdout, Stderr io.Writer
}

// Run runs a command with a Console of its own, says why it failed, and returns the exit code.
func (c Console) Run(command func(Console) error) (code int) {
	s := &screen{}
	defer s.end()
	c.Stdout, c.Stderr = shown{s, c.Stdout}, shown{s, c.Stderr}
	err := command(c)
	var exit Exit
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.Is(err, ErrUsage):
		fmt.Fprintln(c.Stderr, strings.TrimPrefix(err.Error(), ErrUsage.Error()+": "))
		return 2
	}
	fmt.Fprintf(c.Stderr, "%s: %v\n", c.Command, err)
	return 1
}

// Load fills parts as [config.Load] does; faults are wrong usage. Of the environment it takes what parts know, because the variables of the process
// beside which an operator types are there too.
func (c Console) Load(args []string, parts ...config.Part) error {
	known := config.Variables(parts...)
	environ := slices.DeleteFunc(slices.Clone(c.Environ), func(entry string) bool {
		variable, _, _ := strings.Cut(entry, "=")
		return !slices.Contains(known, variable)
	})
	err := config.Load(c.Program+" "+c.Command, args, environ, c.Stdout, parts...)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return err
}

// screen is what stdout and stderr are shown on.
type screen struct {
	mu   sync.Mutex
	over bool
}

func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// shown is one of them.
type shown struct {
	*screen
	to io.Writer
}

// Write drops what comes after the command: the goroutines of a connection, which log, end some time after it was closed.
func (s shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return len(p), nil
	}
	return s.to.Write(p)
}

// Who is the person who types, as far as the system knows.
func Who() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "unknown"
	}
	return u.Username
}
