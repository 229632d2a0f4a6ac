package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/worker/internal/control"
)

// word is what pause and resume have in common.
type word struct {
	operator.Settings
	one
	who, reason string
}

// RegisterFlags implements config.Part.
func (w *word) RegisterFlags(fs *flag.FlagSet) {
	w.Settings.RegisterFlags(fs)
	w.one.RegisterFlags(fs)
	fs.StringVar(&w.who, "who", operator.Who(), "`name` of whoever says so, for others to read")
	fs.StringVar(&w.reason, "reason", "", "`text` that says why, for others to read")
}

// Validate implements config.Part.
func (w *word) Validate() error {
	if err := w.Settings.Validate(); err != nil {
		return err
	}
	return w.one.Validate()
}

var _ config.Part = (*word)(nil)

// say loads the settings, opens the deployment and calls f.
func (w *word) say(ctx context.Context, args []string, c operator.Console, f func(context.Context, *broker.Broker) error) error {
	if err := c.Load(args, w); err != nil {
		return err
	}
	return c.Open(ctx, w.Settings, func(ctx context.Context, b *broker.Broker) error {
		if err := w.within(b); err != nil {
			return err
		}
		return f(ctx, b)
	})
}

// pause is the verb pause.
func pause(ctx context.Context, args []string, c operator.Console) error {
	w := &word{}
	return w.say(ctx, args, c, func(ctx context.Context, b *broker.Broker) error {
		if err := control.Pause(ctx, b, w.partition, w.who, w.reason); err != nil {
			return err
		}
		fmt.Fprintf(c.Stdout, "partition %d is paused: whoever runs it drains it, nobody starts it, triggers are accepted; worker resume -partition %[1]d ends that\n", w.partition)
		return nil
	})
}

// resume is the verb resume.
func resume(ctx context.Context, args []string, c operator.Console) error {
	w := &word{}
	return w.say(ctx, args, c, func(ctx context.Context, b *broker.Broker) error {
		before, err := control.Read(ctx, b, w.partition)
		if err != nil {
			return err
		}
		if err := control.Resume(ctx, b, w.partition, w.who, w.reason); err != nil {
			return err
		}
		if before.Paused() {
			fmt.Fprintf(c.Stdout, "partition %d was %s\n", w.partition, before.PausedBy())
		}
		if s, ok := before.Quarantined(); ok {
			fmt.Fprintf(c.Stdout, "partition %d was in quarantine: %s\n", w.partition, s)
		}
		fmt.Fprintf(c.Stdout, "partition %d is resumed: the worker whose it is starts it, or tries it again if it had halted; worker inspect -partition %[1]d shows what comes of it\n", w.partition)
		return nil
	})
}
