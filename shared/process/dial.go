package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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

// ErrRefused: the broker is there, and does not take this process. Waiting does not help.
var ErrRefused = errors.New("broker refuses this process: check who it says it is (-nats-credentials, -nats-nkey, -nats-user) and what it " +
	"shows and trusts (-nats-tls-ca, -nats-tls-cert)")

// refusals are the client's errors of a broker that is there.
var refusals = []error{
	nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported,
}

// refusalTexts are what the broker has against the own certificate: errors without a type, that come with or after the handshake.
var refusalTexts = []string{"remote error: tls:", "closed by remote after TLS handshake"}

// refusal says whether err is a no, the broker's or our own to its certificate, rather than silence.
func refusal(err error) bool {
	var certificate *tls.CertificateVerificationError
	return err != nil && (errors.As(err, &certificate) ||
		slices.ContainsFunc(refusals, func(e error) bool { return errors.Is(err, e) }) ||
		slices.ContainsFunc(refusalTexts, func(text string) bool { return strings.Contains(err.Error(), text) }))
}

// Dial connects, trying again until ctx ends; a refusal ends it at once. The connection reconnects for ever.
func (r *Remote) Dial(ctx context.Context, name string, log *slog.Logger) (*nats.Conn, error) {
	opts, err := r.options()
	if err != nil {
		return nil, err
	}
	opts = append(ConnOptions(name, log), opts...)
	for warned := false; ; warned = true {
		conn, err := nats.Connect(r.URL, opts...)
		if err == nil {
			return conn, nil
		}
		if refusal(err) {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
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
		nats.IgnoreAuthErrorAbort(), // a key that is being replaced may be refused for a while
		nats.DisconnectErrHandler(func(conn *nats.Conn, err error) {
			if !conn.IsClosed() {
				log.Warn("broker connection lost", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if refusal(err) {
				log.Error("broker refuses to take this process back, trying again", "error", err)
			}
		}),
		nats.ReconnectHandler(func(conn *nats.Conn) { log.Info("broker connection restored", "url", conn.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { sayError(log, sub, err) }),
	}
}

// sayError logs what the broker says of a connection beside its answers.
func sayError(log *slog.Logger, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		log.Error("broker does not allow this user what it tried", "error", err)
	case refusal(err):
		log.Error("broker refuses to take this process back, trying again", "error", err)
	default:
		log.Warn("broker connection reports an error", "subject", subject, "error", err)
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
		err := fmt.Errorf("connection is %s", status)
		if last := conn.LastError(); refusal(last) {
			err = fmt.Errorf("%w: %w", err, last)
		}
		return "", err
	}
	return "connected to " + conn.ConnectedServerName() + ", version " + conn.ConnectedServerVersion(), nil
}
