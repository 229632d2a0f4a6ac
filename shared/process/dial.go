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

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/telemetry"
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
	"shows and trusts (-nats-tls-ca, -nats-tls-cert; a url with tls:// asks for TLS)")

// refusals are the client's errors of a broker that is there.
var refusals = []error{
	nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported, errOtherRole,
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
	var trouble telemetry.Trouble
	for {
		conn, err := r.connect(opts)
		if err == nil {
			trouble.Over(log, "broker is there", "url", At(conn))
			return conn, nil
		}
		if refusal(err) {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		trouble.Again(log, slog.LevelWarn, "broker is away, trying again", "url", config.Redact(r.URL), "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: broker is away: %w", ctx.Err(), err)
		case <-time.After(redialEvery):
		}
	}
}

// connect makes a connection over which answers can be heard. A broker lets a process in with any key that it knows, and does not let it hear
// what belongs to another role: everything it asked would look unanswered.
func (r *Remote) connect(opts []nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect(r.URL, opts...)
	if err != nil {
		return nil, err
	}
	sub, err := conn.SubscribeSync(conn.NewInbox())
	if err == nil {
		err = conn.FlushTimeout(hearWithin)
		_ = sub.Unsubscribe()
	}
	if last := conn.LastError(); errors.Is(last, nats.ErrPermissionViolation) {
		err = fmt.Errorf("%w: %w", errOtherRole, last)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// At is the address of the server that conn has, without anything secret. What the client calls redacted has a token in it.
func At(conn *nats.Conn) string {
	if at := conn.ConnectedUrl(); at != "" {
		return config.Redact(at)
	}
	return ""
}

// hearWithin bounds how long a new connection is tried out.
const hearWithin = 5 * time.Second

// errOtherRole: the key is known, as that of somebody else.
var errOtherRole = errors.New("the key (-nats-nkey, -nats-credentials, -nats-user) is that of another role: it may not hear the answers to what this process asks")

// ConnOptions are those of every connection of a process; name is what the broker calls it.
func ConnOptions(name string, log *slog.Logger) []nats.Option {
	said := newConnection(log)
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
		nats.DisconnectErrHandler(said.disconnected),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { said.notTakenBack(err) }),
		nats.ReconnectHandler(said.reconnected),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { said.reported(sub, err) }),
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
