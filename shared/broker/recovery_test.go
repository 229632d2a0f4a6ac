package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/triggerd/triggerd/shared/broker"
	"github.com/triggerd/triggerd/shared/natstest"
)

// A process that died anywhere between claiming a log and marking it as created left a log that the next one finishes.
func TestEnsureGoesOnAfterACrash(t *testing.T) {
	steps := []struct {
		name string
		undo func(t *testing.T, b *broker.Broker)
	}{
		{"first record stored", func(*testing.T, *broker.Broker) {}},
		{"events made", func(t *testing.T, b *broker.Broker) {
			remake(t, b, broker.TriggersStream(0))
		}},
		{"log made", func(t *testing.T, b *broker.Broker) {
			remake(t, b, broker.TriggersStream(0))
			drop(t, b, broker.EventsStream(0))
		}},
		{"log intended", func(t *testing.T, b *broker.Broker) {
			drop(t, b, broker.TriggersStream(0))
			drop(t, b, broker.EventsStream(0))
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			nc := natstest.Start(t).Connect()
			b := ensure(t, nc, settings(1))
			step.undo(t, b)
			kv, err := b.JS.KeyValue(t.Context(), broker.BucketDeployment)
			if err != nil {
				t.Fatal(err)
			}
			entry := fmt.Sprintf(`{"id":%q,"state":"intended"}`, b.LogID(0))
			if _, err := kv.PutString(t.Context(), "log.0", entry); err != nil {
				t.Fatal(err)
			}
			again := ensure(t, nc, settings(1))
			if again.LogID(0) != b.LogID(0) {
				t.Error("the log got another id")
			}
			checkFirstRecord(t, again, 0)
			drop(t, b, broker.TriggersStream(0))
			again = ensure(t, nc, settings(1))
			checkRefusal(t, again.CheckLog(t.Context(), 0), broker.ErrLogMissing) // so it was marked as created
		})
	}
}

func drop(t *testing.T, b *broker.Broker, name string) {
	t.Helper()
	if err := b.JS.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func remake(t *testing.T, b *broker.Broker, name string) {
	t.Helper()
	cfg := config(t, b, name)
	drop(t, b, name)
	if _, err := b.JS.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureWaitsForTheBroker(t *testing.T) {
	up := false
	srv := natstest.Start(t, natstest.Tune(func(o *server.Options) { o.JetStream = up }))
	nc := srv.Connect()
	said, done := make(chan string, 100), make(chan error, 1)
	go func() {
		_, err := broker.Ensure(t.Context(), nc, settings(1), slog.New(slog.NewTextHandler(lines(said), nil)))
		done <- err
	}()
	awaitLine(t, said, done, "broker is away")
	up = true
	srv.Restart()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func awaitLine(t *testing.T, said <-chan string, done <-chan error, want string) {
	t.Helper()
	select {
	case line := <-said:
		if !strings.Contains(line, want) {
			t.Errorf("log says %q, want %q", line, want)
		}
	case err := <-done:
		t.Fatalf("ended with %v", err)
	}
}

// lines is a writer that hands on what is written to it.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// A broker that does not know a log for a moment, as one that has just started may, is asked again.
func TestEnsureAsksAgainForAMissingLog(t *testing.T) {
	nc := natstest.Start(t).Connect()
	b := ensure(t, nc, settings(1))
	log := natstest.TakeBackup(t, nc, broker.TriggersStream(0))
	drop(t, b, broker.TriggersStream(0))
	said, done := make(chan string, 100), make(chan error, 1)
	patient := settings(1)
	patient.MissingFor = time.Hour
	go func() {
		_, err := broker.Ensure(t.Context(), nc, patient, slog.New(slog.NewTextHandler(lines(said), nil)))
		done <- err
	}()
	awaitLine(t, said, done, "known log is missing")
	log.Restore(t, nc)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checkFirstRecord(t, b, 0)
}

func TestEnsureEndsWithItsContext(t *testing.T) {
	srv := natstest.Start(t, natstest.Tune(func(o *server.Options) { o.JetStream = false }))
	nc := srv.Connect()
	ctx, cancel := context.WithCancel(t.Context())
	said, done := make(chan string, 100), make(chan error, 1)
	go func() {
		_, err := broker.Ensure(ctx, nc, settings(1), slog.New(slog.NewTextHandler(lines(said), nil)))
		done <- err
	}()
	awaitLine(t, said, done, "broker is away")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
