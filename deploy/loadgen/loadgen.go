// Package loadgen puts load on a running triggerd, measures it, and audits what it was promised: at once, or later from the ledger that it kept.
//
// # Usage
//
//	report, err := loadgen.Run(ctx, cfg)
//	report.Print(os.Stdout)
//
//	verdict, err := loadgen.Verify(ctx, verifyConfig)
//	verdict.Print(os.Stdout)
//
// # What it does
//
// It declares a bot and imports users of its own (every run has others), sends triggers, waits until all is applied, and reads every
// user back. With a rate or bursts it is an open loop: triggers are due at fixed times, whether or not earlier ones were answered, and latency counts from
// when a trigger was due, also if it had to wait for a free connection. Without them it is a closed loop: each connection sends as soon as it was
// answered, which shows what the server can do at most.
//
// What is refused for the moment is sent again. What has no known outcome is sent again too if it has an Idempotency-Key, and asked for by its receipt if it has
// one; otherwise its user gets no further triggers, and the audit finds out.
//
// # The audit
//
// Each trigger carries the next number of its user, and a user's triggers are sent one after the other. So afterwards the state must show for each user:
// the number of the last accepted trigger; a version that counts the registration and every accepted trigger once; and among its last changes
// the ids of the last accepted triggers in their order. The ids that were answered must rise. What was sent again under its key must have been answered as
// the first time, or be a duplicate. A trigger whose outcome stayed unknown may be in the state or not, but then the rest must fit exactly.
//
// What this does not show: that of one user one trigger was lost and another one doubled, both before its last ten changes. [VerifyConfig.Outcomes] and
// [VerifyConfig.NATS] close that.
//
// # Cost
//
// Client and server share a machine. Requests are rendered into one buffer a connection, answers are read from a buffer without parsing
// more than is needed, and nothing is allocated for either.
package loadgen

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
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
	DefaultEvery       = time.Second
	DefaultValueBytes  = 16
	maxBatch           = 1000      // of the contract
	maxVars            = 250       // of the contract, with some room
	maxPayload         = 200 << 10 // bytes of all variables
	tokenTTL           = 24 * time.Hour
)

// Config is what load to put on what.
type Config struct {
	URL         string        // of the public port, or of several, separated by commas
	Token       string        // with the scopes trigger and runtime; or
	SigningKey  string        // file to make one from
	Account     string        // that the made token is for
	Users       int           // that are imported first
	Connections int           // kept alive, each with one request at a time
	Rate        float64       // triggers a second, of all connections; 0 = as fast as they are answered
	Burst       int           // triggers at once, instead of a rate
	Every       time.Duration // between the beginnings of two bursts
	Skew        Skew
	Duration    time.Duration // of the load, without preparing and auditing
	Vars        int           // more variables in each trigger, beside its number
	ValueBytes  int           // of each of those
	Batch       int           // triggers of different users in one request
	Keys        bool          // each trigger has an Idempotency-Key
	Repeats     Percent       // of the requests are sent twice: half of these at once, half later
	Timeout     time.Duration // of one request
	Ledger      string        // file to keep what was promised in; empty = none
	NoAudit     bool
	Quiet       bool // no progress line
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.URL = DefaultURL
	fs.Var((*config.URL)(&c.URL), "url", "`url` of the public port, or those of several ingresses separated by commas")
	fs.Var((*config.Secret)(&c.Token), "token", "with the scopes trigger and runtime")
	fs.StringVar(&c.SigningKey, "signing-key", "", "`file` to make a token from, such as .data/keys/signing.pem")
	fs.StringVar(&c.Account, "account", DefaultAccount, "that the token made from -signing-key is for")
	fs.IntVar(&c.Users, "users", DefaultUsers, "imported first; every run makes new ones")
	fs.IntVar(&c.Connections, "connections", DefaultConnections, "kept alive, each with one request at a time")
	fs.Float64Var(&c.Rate, "rate", 0, "triggers a `second`, whether or not earlier ones were answered; 0 is as fast as they are answered")
	fs.IntVar(&c.Burst, "burst", 0, "`triggers` at once, every -every, instead of -rate")
	fs.DurationVar(&c.Every, "every", DefaultEvery, "from one -burst to the next")
	fs.Var(&c.Skew, "skew", "`calls/users`: 80/1 is 80 % of the triggers for 1 % of the users; all alike if empty")
	fs.DurationVar(&c.Duration, "duration", DefaultDuration, "of the load, without preparing and auditing")
	fs.IntVar(&c.Vars, "vars", 0, "more `variables` in each trigger, beside its number")
	fs.IntVar(&c.ValueBytes, "value-bytes", DefaultValueBytes, "`bytes` of each of -vars")
	fs.IntVar(&c.Batch, "batch", DefaultBatch, "triggers in one request, to the endpoint for batches if over 1")
	fs.BoolVar(&c.Keys, "keys", false, "give each trigger an Idempotency-Key, so that one without an answer is sent again")
	fs.Var(&c.Repeats, "repeats", "`share` of the requests, such as 5%, that get an Idempotency-Key and are sent twice: half of them at once, half later")
	fs.DurationVar(&c.Timeout, "timeout", DefaultTimeout, "of one request")
	fs.StringVar(&c.Ledger, "ledger", "", "`file` to keep what was promised in, for loadgen verify; it must not exist")
	fs.BoolVar(&c.NoAudit, "no-audit", false, "do not read every user back")
	fs.BoolVar(&c.Quiet, "quiet", false, "no progress line")
}

// faults joins what is wrong.
type faults []error

func (f *faults) add(bad bool, format string, args ...any) {
	if bad {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

// identity is who sends: a token, or what makes one.
func (f *faults) identity(token, signingKey string) {
	f.add(token == "" && signingKey == "", "-token or -signing-key is mandatory")
	f.add(token != "" && signingKey != "", "-token and -signing-key: one or the other")
}

// idle is an account that somebody typed for nothing.
func (f *faults) idle(token, account string) {
	f.add(token != "" && account != DefaultAccount, "-account and -token: a token has its account in it")
}

// Check implements config.Checker.
func (c *Config) Check() error {
	var f faults
	f.idle(c.Token, c.Account)
	f.add(c.Burst == 0 && c.Every != DefaultEvery, "-every is given without -burst")
	f.add(c.Vars == 0 && c.ValueBytes != DefaultValueBytes, "-value-bytes is given without -vars")
	if c.Ledger != "" {
		_, err := os.Lstat(c.Ledger)
		f.add(err == nil, "-ledger: %s is there already, and is not overwritten", c.Ledger)
		f = append(f, config.Directory("ledger", filepath.Dir(c.Ledger)))
	}
	return errors.Join(append(f, config.File("signing-key", c.SigningKey))...)
}

// Warnings implements config.Warner.
func (c *Config) Warnings() []string { return config.Exposed("signing-key", c.SigningKey) }

// Validate joins all faults.
func (c *Config) Validate() error {
	var f faults
	_, err := targets(c.URL)
	f.add(err != nil, "-url: %w", err)
	f.identity(c.Token, c.SigningKey)
	f.add(c.Connections < 1, "-connections is %d, under 1", c.Connections)
	f.add(c.Users > maxUsers, "-users is %d, over %d", c.Users, maxUsers)
	f.add(c.Batch < 1 || c.Batch > maxBatch, "-batch is %d, not within 1 and %d", c.Batch, maxBatch)
	f.add(c.Batch > 0 && c.Users < c.Connections*c.Batch, "-users is %d, fewer than %d -connections with %d triggers each at once", c.Users, c.Connections, c.Batch)
	f.add(!(c.Rate >= 0 && c.Rate <= maxRate), "-rate is %g, not within 0 and %d", c.Rate, maxRate)
	f.add(c.Burst < 0, "-burst is %d, under 0", c.Burst)
	f.add(c.Burst > 0 && c.Rate > 0, "-burst and -rate: one or the other")
	f.add(c.Burst > 0 && c.Every <= 0, "-every is %v, not over 0", c.Every)
	f.add(c.Duration <= 0, "-duration is %v, not over 0", c.Duration)
	f.add(c.Vars < 0 || c.Vars > maxVars, "-vars is %d, not within 0 and %d", c.Vars, maxVars)
	f.add(c.ValueBytes < 0 || c.Vars*c.ValueBytes > maxPayload, "-vars times -value-bytes is %d, not within 0 and %d", c.Vars*c.ValueBytes, maxPayload)
	f.add(c.Skew.Calls > 0 && c.Skew.hot(c.Users) < c.Connections,
		"-skew makes %d of %d users hot, fewer than %d -connections: each has its own", c.Skew.hot(c.Users), c.Users, c.Connections)
	f.add(c.Timeout <= 0, "-timeout is %v, not over 0", c.Timeout)
	return errors.Join(f...)
}

// maxRate is what makes a microsecond between two requests.
const maxRate = 1_000_000

// ErrBroken: a promise was not kept. The report says which.
var ErrBroken = errors.New("promises were broken")

// ErrNotAudited: nobody knows whether all promises were kept.
var ErrNotAudited = errors.New("could not be audited")

// exitNotAudited is the exit code of what is neither kept nor broken.
const exitNotAudited = 3

// ExitCode is what a process should end with: 1 after ErrBroken and whatever else went wrong, 3 after ErrNotAudited.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrNotAudited):
		return exitNotAudited
	}
	return 1
}

// Print does what Run does and writes the report for a person.
func Print(ctx context.Context, cfg Config, w io.Writer) error {
	report, err := Run(ctx, cfg)
	if report != nil {
		report.Print(w)
	}
	if err == nil && len(report.Broken) > 0 {
		err = ErrBroken
	}
	return err
}

// Run prepares, drives and audits. An error means that it could not be done (ErrNotAudited: there is a report all the same); broken promises are in the report.
// When ctx ends during the load, that is all the load there was, and the audit still happens.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := makeToken(&cfg.Token, cfg.SigningKey, cfg.Account); err != nil {
		return nil, err
	}
	session, err := Prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	session.Drive(ctx)
	err = session.Close()
	if err == nil && !cfg.NoAudit {
		err = session.Audit(context.WithoutCancel(ctx))
	}
	return session.Report(), err
}

// makeToken fills token unless there is one.
func makeToken(token *string, signingKey, account string) (err error) {
	if *token == "" {
		*token, err = ingress.IssueToken(signingKey, account, "trigger runtime", tokenTTL)
	}
	return err
}
