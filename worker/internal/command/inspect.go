package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
)

// inspection is what inspect can be told.
type inspection struct {
	operator.Settings
	partition              int
	digest, json           bool
	account, user, trigger string
	file                   string
}

// RegisterFlags implements config.Part.
func (i *inspection) RegisterFlags(fs *flag.FlagSet) {
	i.Settings.RegisterFlags(fs)
	fs.IntVar(&i.partition, "partition", -1, "`number` of the only partition to show; -1 shows all")
	fs.BoolVar(&i.digest, "digest", false, "show a digest of each partition's state; its owner applies nothing while it computes that")
	fs.BoolVar(&i.json, "json", false, "write JSON rather than a table")
	fs.StringVar(&i.account, "account", "", "`account` of -user or -trigger")
	fs.StringVar(&i.user, "user", "", "`id` of a user to show")
	fs.StringVar(&i.trigger, "trigger", "", "`id` of a trigger, or receipt, whose outcome to show")
	fs.StringVar(&i.file, "file", "", "`path` of a partition's file to look into instead of asking; no worker may have it open")
}

// Validate implements config.Part.
func (i *inspection) Validate() error {
	faults := []error{i.Settings.Validate()}
	if i.user != "" && i.trigger != "" {
		faults = append(faults, errors.New("-user and -trigger: ask for one at a time"))
	}
	if (i.user != "" || i.trigger != "") && i.account == "" {
		faults = append(faults, errors.New("-account is missing: say whose -user or -trigger it is"))
	}
	return errors.Join(faults...)
}

// inspect is the verb inspect. It changes nothing, anywhere. When it could look, and something is wrong, its error is errWrong.
func inspect(ctx context.Context, args []string, c operator.Console) error {
	i := &inspection{}
	if err := c.Load(args, i); err != nil {
		return err
	}
	if i.file != "" {
		return i.look(c)
	}
	return c.Open(ctx, i.Settings, func(ctx context.Context, b *broker.Broker) error { return i.ask(ctx, b, c) })
}

// ask asks the broker and the owners.
func (i *inspection) ask(ctx context.Context, b *broker.Broker, c operator.Console) error {
	if i.partition >= 0 {
		if err := (&one{i.partition}).within(b); err != nil {
			return err
		}
	}
	switch {
	case i.user != "":
		return i.askUser(ctx, b, c)
	case i.trigger != "":
		return i.askOutcome(ctx, b, c)
	}
	return i.askAll(ctx, b, c)
}

func (i *inspection) askUser(ctx context.Context, b *broker.Broker, c operator.Console) error {
	p := broker.Partition(i.account, i.user, b.Partitions())
	reply, err := statequery.NewClient(b.Conn).Ask(ctx, p, statequery.Request{User: &statequery.User{Account: i.account, User: i.user}})
	if err != nil {
		return fmt.Errorf("ask partition %d: %w", p, err)
	}
	if reply.User == nil {
		return fmt.Errorf("user %q of account %q is not known in partition %d as of message %d", i.user, i.account, p, reply.Applied)
	}
	return show(c.Stdout, map[string]any{"partition": p, "applied": reply.Applied, "user": reply.User})
}

func (i *inspection) askOutcome(ctx context.Context, b *broker.Broker, c operator.Console) error {
	p, err := partitionOf(i.trigger)
	if err == nil {
		err = (&one{p}).within(b)
	}
	if err != nil {
		return fmt.Errorf("%w: -trigger: %w", operator.ErrUsage, err)
	}
	reply, err := statequery.NewClient(b.Conn).Ask(ctx, p, statequery.Request{Outcome: &statequery.OutcomeOf{Account: i.account, ID: i.trigger}})
	if err != nil {
		return fmt.Errorf("ask partition %d: %w", p, err)
	}
	return show(c.Stdout, map[string]any{"partition": p, "applied": reply.Applied, "outcome": reply.Outcome})
}

func partitionOf(trigger string) (int, error) {
	if id, err := record.ParseID(trigger); err == nil {
		return id.Partition, nil
	}
	receipt, err := record.ParseReceipt(trigger)
	return receipt.Partition, err
}

func (i *inspection) askAll(ctx context.Context, b *broker.Broker, c operator.Console) error {
	s := &survey{b: b, digest: i.digest, now: time.Now()}
	rows, wrong := s.take(ctx)
	if i.partition >= 0 {
		rows = rows[i.partition : i.partition+1]
	}
	err := i.present(c, s, rows, wrong)
	if err == nil && (len(wrong) > 0 || slices.ContainsFunc(rows, func(r Row) bool { return r.ill() })) {
		err = errWrong
	}
	return err
}

func (i *inspection) present(c operator.Console, s *survey, rows []Row, wrong []Wrong) error {
	if i.json {
		page := map[string]any{"partitions": rows, "wrong": wrong}
		if s.unknown == nil {
			page["members"] = len(s.members)
		}
		return show(c.Stdout, page)
	}
	workers := fmt.Sprint(len(s.members))
	if s.unknown != nil {
		workers = unknown
	}
	fmt.Fprintf(c.Stdout, "%d partitions, %s workers\n", s.b.Partitions(), workers)
	return report(c.Stdout, rows, wrong, i.digest)
}

// show writes JSON for people and programs.
func show(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
