package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/worker/internal/adopt"
)

// DefaultAdoptTimeout bounds adopt, which may have a log to replay.
const DefaultAdoptTimeout = 30 * time.Minute

// adoption is what adopt can be told.
type adoption struct {
	operator.Settings
	one
	dataDir, who string
	margin, seen uint64
	eventsLost   bool
}

// RegisterFlags implements config.Part.
func (a *adoption) RegisterFlags(fs *flag.FlagSet) {
	a.Remote.RegisterFlags(fs)
	a.one.RegisterFlags(fs)
	fs.DurationVar(&a.Timeout, "timeout", DefaultAdoptTimeout, "longest `time` that the command may take")
	fs.StringVar(&a.dataDir, "data-dir", ".data", "`directory` of a worker's files; an empty one will do if the log has its beginning")
	fs.Uint64Var(&a.margin, "margin", adopt.DefaultMargin, "`number` of sequences to leave out beyond the highest one that was seen, for those that were handed out and seen nowhere")
	fs.Uint64Var(&a.seen, "seen", 0, "highest `sequence` that is known from elsewhere, as from the id of a trigger; 0: none")
	fs.BoolVar(&a.eventsLost, "events-lost", false, "go on without events that EVENTS lacks and that nothing can derive again: whoever has not read them will never get them")
	fs.StringVar(&a.who, "who", operator.Who(), "`name` of whoever decides, for others to read")
}

// Validate implements config.Part.
func (a *adoption) Validate() error {
	faults := []error{a.Settings.Validate(), a.one.Validate()}
	if a.dataDir == "" {
		faults = append(faults, errors.New("-data-dir is empty"))
	}
	return errors.Join(faults...)
}

// adoptLog is the verb adopt.
func adoptLog(ctx context.Context, args []string, c operator.Console) error {
	a := &adoption{}
	if err := c.Load(args, a); err != nil {
		return err
	}
	return c.Open(ctx, a.Settings, func(ctx context.Context, b *broker.Broker) error { return a.run(ctx, b, c) })
}

func (a *adoption) run(ctx context.Context, b *broker.Broker, c operator.Console) error {
	if err := a.within(b); err != nil {
		return err
	}
	path := filepath.Join(a.dataDir, "worker", fmt.Sprintf("partition-%d.db", a.partition))
	_, err := adopt.Run(ctx, adopt.Config{Partition: a.partition, Path: path, Margin: a.margin, Seen: a.seen, Who: a.who, EventsLost: a.eventsLost},
		adopt.Deps{Broker: b, Say: func(format string, v ...any) { fmt.Fprintf(c.Stdout, format+"\n", v...) }})
	return err
}
