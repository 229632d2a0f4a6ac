// Package loadgen puts load on a running triggerd, measures it, and then audits what it was promised.
//
// # Usage
//
//	report, err := loadgen.Run(ctx, cfg)
//	report.Print(os.Stdout)
//
// # What it does
//
// It declares a bot and imports users of its own (every run has others), sends triggers, waits until all is applied, and reads every
// user back. With a rate it is an open loop: triggers are due at fixed times, whether or not earlier ones were answered, and latency counts from when a
// trigger was due. Without one it is a closed loop: each connection sends as soon as it was answered, which shows what the server can do at
// most.
//
// # The audit
//
// Each trigger carries the next number of its user, and a user's triggers are sent one after the other. So afterwards the state must show for each user:
// the number of the last accepted trigger; a version that counts the registration and every accepted trigger once; and among its last changes
// the ids of the last accepted triggers in their order. The ids that were answered must rise. A trigger whose outcome stayed unknown is asked for by its
// receipt; if there is none, as after a lost connection, it may be in the state or not, but then the rest must fit exactly. A user with an unknown outcome
// gets no further triggers.
//
// # Cost
//
// Client and server share a machine. Requests are rendered once per connection and patched, answers are read from a buffer without parsing
// more than is needed.
package loadgen

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/triggerd/triggerd/ingress"
)

// Defaults of Config.
const (
	DefaultURL         = "http://127.0.0.1:8080"
	DefaultAccount     = "loadgen"
	DefaultUsers       = 100_000
	DefaultConnections = 256
	DefaultDuration    = 20 * time.Second
	DefaultTimeout     = 10 * time.Second
	DefaultBatch       = 1
	maxBatch           = 1000 // of the contract
	maxPayload         = 200 << 10
	tokenTTL           = 24 * time.Hour
)

// Config is what load to put on what.
type Config struct {
	URL         string        // of the public port
	Token       string        // with the scopes trigger and runtime; or
	SigningKey  string        // file to make one from
	Account     string        // that the made token is for
	Users       int           // that are imported first
	Connections int           // kept alive, each with one request at a time
	Rate        float64       // triggers a second, of all connections; 0 = as fast as they are answered
	Duration    time.Duration // of the load, without preparing and auditing
	Payload     int           // bytes of one more variable in each trigger
	Batch       int           // triggers of different users in one request
	Timeout     time.Duration // of one request
	NoAudit     bool
	Quiet       bool // no progress bar
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.URL, "url", DefaultURL, "`url` of the public port")
	fs.StringVar(&c.Token, "token", "", "with the scopes trigger and runtime")
	fs.StringVar(&c.SigningKey, "signing-key", "", "`file` to make a token from, such as .data/keys/signing.pem")
	fs.StringVar(&c.Account, "account", DefaultAccount, "that the token made from -signing-key is for")
	fs.IntVar(&c.Users, "users", DefaultUsers, "imported first; every run makes new ones")
	fs.IntVar(&c.Connections, "connections", DefaultConnections, "kept alive, each with one request at a time")
	fs.Float64Var(&c.Rate, "rate", 0, "triggers a `second`, whether or not earlier ones were answered; 0 is as fast as they are answered")
	fs.DurationVar(&c.Duration, "duration", DefaultDuration, "of the load, without preparing and auditing")
	fs.IntVar(&c.Payload, "payload", 0, "`bytes` of one more variable in each trigger")
	fs.IntVar(&c.Batch, "batch", DefaultBatch, "triggers in one request, to the endpoint for batches if over 1")
	fs.DurationVar(&c.Timeout, "timeout", DefaultTimeout, "of one request")
	fs.BoolVar(&c.NoAudit, "no-audit", false, "do not read every user back")
	fs.BoolVar(&c.Quiet, "quiet", false, "no progress bar")
}

// Validate joins all faults.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	fault(err != nil || u.Scheme != "http" || u.Host == "", "-url is %q, not like %s", c.URL, DefaultURL)
	fault(c.Token == "" && c.SigningKey == "", "-token or -signing-key is mandatory")
	fault(c.Connections < 1, "-connections is %d, under 1", c.Connections)
	fault(c.Users < c.Connections, "-users is %d, fewer than %d connections", c.Users, c.Connections)
	fault(c.Batch < 1 || c.Batch > maxBatch, "-batch is %d, not within 1 and %d", c.Batch, maxBatch)
	fault(c.Batch > 1 && c.Users < c.Connections*c.Batch, "-users is %d, fewer than %d connections with batches of %d", c.Users, c.Connections, c.Batch)
	fault(c.Users > maxUsers, "-users is %d, over %d", c.Users, maxUsers)
	fault(c.Rate < 0, "-rate is %g, under 0", c.Rate)
	fault(c.Duration <= 0, "-duration is %v, not over 0", c.Duration)
	fault(c.Payload < 0 || c.Payload > maxPayload, "-payload is %d, not within 0 and %d", c.Payload, maxPayload)
	fault(c.Timeout <= 0, "-timeout is %v, not over 0", c.Timeout)
	return errors.Join(faults...)
}

// ErrBroken: a promise was not kept. The report says which.
var ErrBroken = errors.New("promises were broken")

// Print does what Run does and writes the report for a person.
func Print(ctx context.Context, cfg Config, w io.Writer) error {
	report, err := Run(ctx, cfg)
	if err != nil {
		return err
	}
	report.Print(w)
	if len(report.Broken) > 0 {
		return ErrBroken
	}
	return nil
}

// Run prepares, drives and audits. An error means that it could not be done; broken promises are in the report. When ctx ends during the load,
// that is all the load there was, and the audit still happens.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Token == "" {
		var err error
		if cfg.Token, err = ingress.IssueToken(cfg.SigningKey, cfg.Account, "trigger runtime", tokenTTL); err != nil {
			return nil, err
		}
	}
	session, err := Prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	session.Drive(ctx)
	if !cfg.NoAudit {
		if err := session.Audit(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	return session.Report(), nil
}
