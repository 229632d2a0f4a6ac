package process

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/triggerd/triggerd/shared/telemetry"
)

// connection says what happens to one. Its functions are called by the client, now and then at once.
type connection struct {
	log *slog.Logger

	away, refused, forbidden, unheard, other telemetry.Trouble
}

func newConnection(log *slog.Logger) *connection {
	c := &connection{log: log}
	c.forbidden.Quiet, c.unheard.Quiet, c.other.Quiet = telemetry.Soon, telemetry.Soon, telemetry.Soon
	return c
}

func (c *connection) disconnected(conn *nats.Conn, err error) {
	if !conn.IsClosed() {
		c.away.Again(c.log, slog.LevelWarn, "broker connection lost", "error", err)
	}
}

func (c *connection) reconnected(conn *nats.Conn) {
	c.refused.Over(c.log, "broker takes this process back", "url", At(conn))
	c.away.Over(c.log, "broker connection restored", "url", At(conn))
}

// notTakenBack is called after each attempt, four times a second.
func (c *connection) notTakenBack(err error) {
	if refusal(err) {
		c.refused.Again(c.log, slog.LevelError, "broker refuses to take this process back, trying again", "error", err)
		return
	}
	c.away.Again(c.log, slog.LevelWarn, "broker is away, trying again", "error", err)
}

// reported is what the broker says of a connection beside its answers.
func (c *connection) reported(sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case answersNobody(err):
		c.unheard.Again(c.log, slog.LevelWarn, "an answer reached nobody: whoever asked is gone, or asked before this connection was made; "+
			"only if it goes on this role lacks allow_responses", "error", err)
	case errors.Is(err, nats.ErrPermissionViolation):
		c.forbidden.Again(c.log, slog.LevelError, "broker does not allow this user what it tried: compare its key with the roles in permissions.conf", "error", err)
	case refusal(err):
		c.notTakenBack(err)
	default:
		c.other.Again(c.log, slog.LevelWarn, "broker connection reports an error", "subject", subject, "error", err)
	}
}

// answersNobody: the broker allows an answer to whoever asked, for a while and over the connection on which it was asked, and so refuses a late one.
func answersNobody(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `Publish to "_INBOX.`)
}
