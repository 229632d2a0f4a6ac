package command

import (
	"context"
	"flag"
	"fmt"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/worker/internal/control"
)

// word is what pause and resume have in common.
type word struct {
	settings
	one
	who, reason string
}

// RegisterFlags implements config.Part.
func (w *word) RegisterFlags(fs *flag.FlagSet) {
	w.settings.RegisterFlags(fs)
	w.one.RegisterFlags(fs)
	fs.StringVar(&w.who, "who", who(), "`name` of whoever says so, for others to read")
	fs.StringVar(&w.reason, "reason", "", "`text` that says why, for others to read")
}

// Validate implements config.Part.
func (w *word) Validate() error {
	if err := w.settings.Validate(); err != nil {
		return err
	}
	return w.one.Validate()
}

var _ config.Part = (*word)(nil)

// say loads the settings, opens the deployment and calls f.
func (w *word) say(ctx context.Context, name string, args []string, c console, f func(context.Context, *broker.Broker) error) error {
	if err := c.load(name, args, w); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	b, closed, err := w.open(ctx, c, name)
	if err != nil {
		return err
	}
	defer closed()
	if err := w.within(b); err != nil {
		return err
	}
	return f(ctx, b)
}

// pause is the verb pause.
func pause(ctx context.Context, args []string, c console) error {
	w := &word{}
	return w.say(ctx, "pause", args, c, func(ctx context.Context, b *broker.Broker) error {
		if err := control.Pause(ctx, b, w.partition, w.who, w.reason); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "partition %d is paused: whoever runs it drains it, nobody starts it, triggers are accepted; worker resume -partition %[1]d ends that\n", w.partition)
		return nil
	})
}

// resume is the verb resume.
func resume(ctx context.Context, args []string, c console) error {
	w := &word{}
	return w.say(ctx, "resume", args, c, func(ctx context.Context, b *broker.Broker) error {
		before, err := control.Read(ctx, b, w.partition)
		if err != nil {
			return err
		}
		if err := control.Resume(ctx, b, w.partition, w.who, w.reason); err != nil {
			return err
		}
		if before.Paused() {
			fmt.Fprintf(c.stdout, "partition %d was %s\n", w.partition, before.PausedBy())
		}
		if s, ok := before.Quarantined(); ok {
			fmt.Fprintf(c.stdout, "partition %d was in quarantine: %s\n", w.partition, s)
		}
		fmt.Fprintf(c.stdout, "partition %d is resumed: the worker whose it is starts it, or tries it again if it had halted; worker inspect -partition %[1]d shows what comes of it\n", w.partition)
		return nil
	})
}
