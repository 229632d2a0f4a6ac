package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// How a process keeps its connection. A silent peer is noticed after pingEvery*(1+pingsOut), and nothing is kept back for a broker that is
// away: what the parts send then fails at once, and they know what to do.
const (
	redialEvery   = 250 * time.Millisecond
	redialJitter  = 100 * time.Millisecond
	pingEvery     = 2 * time.Second
	pingsOut      = 2
	noBuffer      = -1
	foreverRedial = -1
)

// Remote is a broker elsewhere.
type Remote struct {
	URL         string // nats://host:port, several separated by commas
	Credentials string // file; empty = none
}

// RegisterFlags adds -nats-url and -nats-credentials and sets their defaults.
func (r *Remote) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&r.URL, "nats-url", nats.DefaultURL, "`url` of the broker, or several separated by commas")
	fs.StringVar(&r.Credentials, "nats-credentials", "", "`file` with the credentials for the broker")
}

// Validate joins all faults.
func (r *Remote) Validate() error {
	if r.URL == "" {
		return errors.New("-nats-url is empty")
	}
	return nil
}

// Dial connects, trying again until ctx ends. The connection reconnects for ever.
func (r *Remote) Dial(ctx context.Context, name string, log *slog.Logger) (*nats.Conn, error) {
	opts := ConnOptions(name, log)
	if r.Credentials != "" {
		opts = append(opts, nats.UserCredentials(r.Credentials))
	}
	for warned := false; ; warned = true {
		conn, err := nats.Connect(r.URL, opts...)
		if err == nil {
			return conn, nil
		}
		if !warned {
			log.Warn("broker is away, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(redialEvery):
		}
	}
}

// ConnOptions are those of every connection of a process; name is what the broker calls it.
func ConnOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name("triggerd " + name),
		nats.CustomInboxPrefix(inboxPrefix(name)),
		nats.MaxReconnects(foreverRedial),
		nats.ReconnectWait(redialEvery),
		nats.ReconnectJitter(redialJitter, redialJitter),
		nats.ReconnectBufSize(noBuffer),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsOut),
		nats.DisconnectErrHandler(func(conn *nats.Conn, err error) {
			if !conn.IsClosed() {
				log.Warn("broker connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) { log.Info("broker connection restored", "url", conn.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("broker connection reports an error", "subject", subject, "error", err)
		}),
	}
}

// inboxPrefix is where a process hears answers: below a name of its kind, so that a broker can keep the kinds from listening to each other.
func inboxPrefix(name string) string {
	kind, _, _ := strings.Cut(name, " ")
	return "_INBOX." + kind
}

// checkConn is quick: it asks nobody.
func checkConn(conn *nats.Conn) (string, error) {
	status := conn.Status()
	if status != nats.CONNECTED {
		return "", fmt.Errorf("connection is %s", status)
	}
	return "connected to " + conn.ConnectedServerName() + ", version " + conn.ConnectedServerVersion(), nil
}
