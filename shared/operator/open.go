package operator

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// DefaultTimeout bounds a command that asks and tells.
const DefaultTimeout = 15 * time.Second

// RetryEvery is the pause between attempts at what a broker, or a process, does not answer.
const RetryEvery = 250 * time.Millisecond

// What is said of a broker that is there and does not answer, and what to do.
const (
	NoLeader    = "so many servers are missing that no leader can be elected, or one is just being elected"
	FindServers = "find the missing servers (nats server list, with the key of role system) and start them with the directories that they had"
)

// Settings are those that all commands have.
type Settings struct {
	process.Remote
	Timeout time.Duration // of all that Open does
}

// RegisterFlags implements config.Part.
func (s *Settings) RegisterFlags(fs *flag.FlagSet) {
	s.Remote.RegisterFlags(fs)
	fs.DurationVar(&s.Timeout, "timeout", DefaultTimeout, "longest `time` that the command may take")
}

// Validate implements config.Part.
func (s *Settings) Validate() error {
	if s.Timeout <= 0 {
		return errors.Join(s.Remote.Validate(), fmt.Errorf("-timeout is %s, not over 0", s.Timeout))
	}
	return s.Remote.Validate()
}

// Open connects, opens the deployment without making anything in it, so that no -partitions is needed, and calls f. The context of f ends with
// s.Timeout, which counts from here, and the connection with f.
func (c Console) Open(ctx context.Context, s Settings, f func(context.Context, *broker.Broker) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	log := slog.New(slog.NewTextHandler(c.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	conn, err := s.Dial(ctx, c.Program+" "+c.Command, log) // the program by name, so that its key will do
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	b, err := s.open(ctx, conn, log)
	if err != nil {
		return err
	}
	return f(ctx, b)
}

// open tries until ctx ends.
func (s *Settings) open(ctx context.Context, conn *nats.Conn, log *slog.Logger) (*broker.Broker, error) {
	var trouble telemetry.Trouble
	for {
		at := process.At(conn)
		b, err := broker.Open(ctx, conn)
		if err == nil {
			return b, nil
		}
		if !broker.Away(err) {
			return nil, fmt.Errorf("open deployment at %s: %w", at, err)
		}
		if ctx.Err() == nil {
			trouble.Again(log, slog.LevelWarn, "broker does not answer, trying again", "url", at, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open deployment at %s, for %s: %w: %s; to do: %s", at, s.Timeout, err, NoLeader, FindServers)
		case <-time.After(RetryEvery):
		}
	}
}
