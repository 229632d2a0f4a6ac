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
	"slices"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
)

// verbs are the commands by name.
func verbs() map[string]func(ctx context.Context, args []string, c operator.Console) error {
	return map[string]func(context.Context, []string, operator.Console) error{
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

// Run runs the command that args begin with, and returns the exit code. ok is false if there is none of that name: then nothing was done.
func Run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	run, ok := verbs()[args[0]]
	if !ok {
		return 0, false
	}
	c := operator.Console{Program: "worker", Command: args[0], Environ: environ, Stdout: stdout, Stderr: stderr}
	return c.Run(func(c operator.Console) error { return run(ctx, args[1:], c) }), true
}

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
		return fmt.Errorf("%w: -partition is %d, the deployment has 0 to %d", operator.ErrUsage, o.partition, b.Partitions()-1)
	}
	return nil
}
