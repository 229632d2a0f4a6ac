package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

// changes are limits to be set, in the spelling of a worker's flags.
type changes []string

// Set implements flag.Value.
func (c *changes) Set(text string) error {
	next := append(*c, text)
	if _, err := next.applied(record.Limits{Machine: 1, MaxUserBytes: 1, MaxPending: 1, OutcomesKeep: 1, KeysKeep: 1}); err != nil {
		return err
	}
	*c = next
	return nil
}

// String implements flag.Value.
func (c *changes) String() string { return strings.Join(*c, " ") }

// applied is l with the changes made.
func (c changes) applied(l record.Limits) (record.Limits, error) {
	fs := flag.NewFlagSet("set", flag.ContinueOnError)
	var next record.Limits
	process.RegisterLimits(fs, &next)
	keep := next.KeysKeep
	next = l
	if next.KeysKeep == 0 { // a log without keys does not say how long they would be kept
		next.KeysKeep = keep
	}
	for _, text := range c {
		name, value, _ := strings.Cut(text, "=")
		if fs.Lookup(name) == nil {
			return l, fmt.Errorf("%q is no limit: want max-user-bytes, max-pending, outcomes-keep, max-keys or keys-keep, as in max-keys=5000000", name)
		}
		if err := fs.Set(name, value); err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := process.ValidateLimits(next); err != nil {
		return l, err
	}
	if next.MaxKeys == 0 {
		next.KeysKeep = 0
	}
	return next, nil
}

// configuration is what configure can be told.
type configuration struct {
	operator.Settings
	set changes
}

// RegisterFlags implements config.Part.
func (c *configuration) RegisterFlags(fs *flag.FlagSet) {
	c.Settings.RegisterFlags(fs)
	fs.Var(&c.set, "set", "`limit=value` to set in all logs, by the names of a worker's flags, as in -set max-keys=5000000 -set keys-keep=24h; without it the limits are shown")
}

// configure is the verb configure. It asks owners for the limits, appends a record with the new ones to each log that has others, and waits until it is applied.
func configure(ctx context.Context, args []string, c operator.Console) error {
	cfg := &configuration{}
	if err := c.Load(args, cfg); err != nil {
		return err
	}
	return c.Open(ctx, cfg.Settings, func(ctx context.Context, b *broker.Broker) error { return cfg.set.changeAll(ctx, b, c) })
}

// changeAll makes the changes in all logs, and shows the limits.
func (c changes) changeAll(ctx context.Context, b *broker.Broker, to operator.Console) (err error) {
	client := statequery.NewClient(b.Conn)
	have := make([]record.Limits, b.Partitions())
	for p := range have { // all of them before any is changed
		if have[p], err = limitsOf(ctx, client, p, 0); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	for p := range have {
		if have[p], err = c.change(ctx, b, client, p, have[p]); err != nil {
			return fmt.Errorf("partitions before %d are changed, say it again for the others: %w", p, err)
		}
	}
	return showLimits(to, have)
}

// change makes the changes in one log and returns its limits.
func (c changes) change(ctx context.Context, b *broker.Broker, client *statequery.Client, p int, have record.Limits) (record.Limits, error) {
	want, err := c.applied(have)
	if err != nil || want == have || len(c) == 0 {
		return have, err
	}
	rec := record.Record{Kind: record.Configure, Limits: want}
	batch := record.Batch{Version: rec.Version(), Writer: "configure", Time: time.Now().UnixMilli(), Count: 1, Payload: rec.AppendTo(nil)}
	msg := &nats.Msg{Subject: broker.TriggersSubject(p), Header: batch.Header(), Data: batch.Payload}
	msg.Header.Set(jetstream.ExpectedStreamHeader, broker.TriggersStream(p))
	ack, err := b.JS.PublishMsg(ctx, msg) // twice the same does no harm
	if err != nil {
		return have, fmt.Errorf("append to partition %d: %w", p, err)
	}
	now, err := limitsOf(ctx, client, p, ack.Sequence)
	if err == nil && now != want {
		err = fmt.Errorf("partition %d goes by %+v now: somebody else has changed it at the same time", p, now)
	}
	return now, err
}

// limitsOf asks the owner, who answers when it has applied seq.
func limitsOf(ctx context.Context, client *statequery.Client, p int, seq uint64) (record.Limits, error) {
	for {
		reply, err := client.Ask(ctx, p, statequery.Request{Status: &statequery.StatusOf{}, WaitSeq: seq, WaitMillis: time.Second.Milliseconds()})
		switch {
		case err == nil && reply.Applied >= seq && reply.Status.Limits.Machine == 0:
			return record.Limits{}, fmt.Errorf("partition %d is served by a worker of an older build: update all workers first", p)
		case err == nil && reply.Applied >= seq:
			return record.Limits(reply.Status.Limits), nil
		case err != nil && !errors.Is(err, statequery.ErrSilent) && !errors.Is(err, statequery.ErrBehind) || ctx.Err() != nil:
			return record.Limits{}, fmt.Errorf("ask partition %d: %w", p, err)
		}
		select {
		case <-ctx.Done():
			return record.Limits{}, fmt.Errorf("ask partition %d: nobody serves it: %w", p, ctx.Err())
		case <-time.After(operator.RetryEvery):
		}
	}
}

func showLimits(c operator.Console, limits []record.Limits) error {
	w := tabwriter.NewWriter(c.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "partition\tmax-user-bytes\tmax-pending\toutcomes-keep\tmax-keys\tkeys-keep")
	for p, l := range limits {
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%d\t%s\n", p, l.MaxUserBytes, l.MaxPending, durationOf(l.OutcomesKeep), l.MaxKeys, durationOf(l.KeysKeep))
	}
	return w.Flush()
}

func durationOf(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
