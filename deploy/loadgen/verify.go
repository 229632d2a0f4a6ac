package loadgen

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
)

// VerifyConfig is which ledger to hold against which deployment.
type VerifyConfig struct {
	Ledger     string // file
	URL        string // of the public port, or of several; empty = those in the ledger
	Token      string // with the scope runtime; or
	SigningKey string // file to make one from
	Account    string // that the made token is for
	Outcomes   bool   // ask for each trigger as well
	JSON       bool
	NATS       process.Remote // to read the events as well; no URL = not
}

// RegisterFlags adds the flags and sets the defaults.
func (c *VerifyConfig) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Ledger, "ledger", "", "`file` that loadgen -ledger wrote")
	fs.Var((*config.URL)(&c.URL), "url", "`url` of the public port, or those of several ingresses; as the ledger has it if empty")
	fs.Var((*config.Secret)(&c.Token), "token", "with the scope runtime")
	fs.StringVar(&c.SigningKey, "signing-key", "", "`file` to make a token from, such as .data/keys/signing.pem")
	fs.StringVar(&c.Account, "account", DefaultAccount, "that the token made from -signing-key is for")
	fs.BoolVar(&c.Outcomes, "outcomes", false, "ask for each accepted trigger as well, while outcomes are kept (-outcomes-keep of the deployment)")
	fs.BoolVar(&c.JSON, "json", false, "write the verdict as JSON")
	c.NATS.RegisterFlags(fs)
	c.NATS.URL = ""
	fs.Lookup("nats-url").DefValue = ""
	fs.Lookup("nats-url").Usage = "`url` of the broker, to read the events as well; empty: the public port alone"
}

// Validate joins all faults.
func (c *VerifyConfig) Validate() error {
	var f faults
	f.add(c.Ledger == "", "-ledger is mandatory")
	f.identity(c.Token, c.SigningKey)
	if c.URL != "" {
		_, err := targets(c.URL)
		f.add(err != nil, "-url: %w", err)
	}
	if c.NATS.URL != "" {
		f = append(f, c.NATS.Validate())
	}
	for _, n := range []struct{ name, value string }{{"credentials", c.NATS.Credentials}, {"nkey", c.NATS.Nkey}, {"user", c.NATS.User},
		{"password-file", c.NATS.PasswordFile}, {"tls-ca", c.NATS.TLSCA}, {"tls-cert", c.NATS.TLSCert}, {"tls-key", c.NATS.TLSKey}, {"tls-server-name", c.NATS.TLSServerName}} {
		f.add(c.NATS.URL == "" && n.value != "", "-nats-%s is given without -nats-url", n.name)
	}
	return errors.Join(f...)
}

// Check implements config.Checker.
func (c *VerifyConfig) Check() error {
	var f faults
	f.idle(c.Token, c.Account)
	return errors.Join(append(f, config.File("ledger", c.Ledger), config.File("signing-key", c.SigningKey))...)
}

// Warnings implements config.Warner.
func (c *VerifyConfig) Warnings() []string {
	return append(config.Exposed("signing-key", c.SigningKey), c.NATS.Warnings()...)
}

// Verdict is what an audit found. Its JSON is for machines.
type Verdict struct {
	Result    string    `json:"result"` // kept or broken
	Run       string    `json:"run"`
	Began     time.Time `json:"began"`
	Audited   time.Time `json:"audited"`
	URL       string    `json:"url"`
	Ledger    string    `json:"ledger_sha256"`
	Complete  bool      `json:"ledger_complete"` // the run came to its end
	Users     int       `json:"users"`
	Accepted  uint64    `json:"accepted"`  // triggers that were answered with 200, or found by their receipt
	Applied   uint64    `json:"applied"`   // triggers that the states count
	Lost      uint64    `json:"lost"`      // accepted, and not applied
	Doubled   uint64    `json:"doubled"`   // applied more often than accepted
	Reordered uint64    `json:"reordered"` // users with triggers out of their order
	Rejected  uint64    `json:"rejected"`  // accepted, and rejected with a reason when they were applied
	Repeats   uint64    `json:"repeats"`   // requests sent again under their key and answered
	Duplicate uint64    `json:"duplicates"`
	Refused   uint64    `json:"refused"`    // requests, of which nothing is stored
	Unknown   uint64    `json:"unknown"`    // triggers whose outcome nobody told
	Surfaced  uint64    `json:"surfaced"`   // of those, in the state all the same
	Unproven  uint64    `json:"unresolved"` // of those, not in the state so far
	Counted   uint64    `json:"counted"`    // accepted ones that are proven by the users' counts alone
	Outcomes  uint64    `json:"outcomes"`   // accepted ones whose outcome says so as well
	Expired   uint64    `json:"expired"`    // outcomes that are no longer kept
	Events    uint64    `json:"events"`     // accepted ones whose event was read as well
	Breaches  []Breach  `json:"breaches"`
	Statement string    `json:"statement"`
	Signature string    `json:"signature"`
}

// PrintVerdict verifies and writes the verdict. It returns ErrBroken or ErrNotAudited.
func PrintVerdict(ctx context.Context, cfg VerifyConfig, w io.Writer) error {
	v, err := Verify(ctx, cfg)
	if err != nil {
		return err
	}
	if cfg.JSON {
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", text)
	} else {
		v.Print(w)
	}
	if len(v.Breaches) > 0 {
		return ErrBroken
	}
	return nil
}

// Verify holds a ledger against a deployment. An error, ErrNotAudited, means that it could not be done.
func Verify(ctx context.Context, cfg VerifyConfig) (*Verdict, error) {
	k, err := readLedger(cfg.Ledger, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAudited, err)
	}
	if err := makeToken(&cfg.Token, cfg.SigningKey, cfg.Account); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAudited, err)
	}
	if cfg.URL == "" {
		cfg.URL = k.URL
	}
	a := &auditor{history: k.history, api: newAPI(cfg.URL, cfg.Token)}
	defer a.api.close()
	v := &Verdict{Run: k.Run, Began: k.Began, URL: cfg.URL, Ledger: k.sha256, Complete: k.ended, Users: k.history.Users}
	if err := a.run(ctx); err != nil {
		return nil, err
	}
	if err := v.further(ctx, &cfg, a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAudited, err)
	}
	v.sum(a)
	return v, nil
}

// further looks at evidence that is not always there.
func (v *Verdict) further(ctx context.Context, cfg *VerifyConfig, a *auditor) error {
	if !cfg.Outcomes && cfg.NATS.URL == "" {
		return nil
	}
	log, err := readAll(cfg.Ledger)
	if err != nil {
		return err
	}
	if cfg.Outcomes {
		if err := v.askAll(ctx, a, log); err != nil {
			return fmt.Errorf("ask for outcomes: %w", err)
		}
	}
	if cfg.NATS.URL != "" {
		if err := v.readEvents(ctx, cfg, a, log); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
	return nil
}

// sum fills in what was found.
func (v *Verdict) sum(a *auditor) {
	f, t := &a.findings, a.history.sum()
	v.Audited = time.Now().UTC().Truncate(time.Second)
	v.Accepted, v.Repeats, v.Refused, v.Unknown = t.Accepted, t.Repeats, t.Refused, t.Unknown
	v.Applied, v.Lost, v.Doubled, v.Reordered, v.Rejected = f.applied, f.missing, f.excess, f.reordered, f.rejected
	v.Duplicate, v.Surfaced, v.Counted = f.duplicates, f.surfaced, f.counted
	v.Expired += f.expired
	v.Unproven = v.Unknown - min(v.Unknown, v.Surfaced)
	v.Breaches = a.all()
	v.Result = "kept"
	if len(v.Breaches) > 0 {
		v.Result = "broken"
	}
	v.Statement = v.state()
	v.Signature = v.sign()
}

// sign is a line that can be quoted: whoever has the ledger can make the totals again, and the sum over the line shows that it was not changed.
func (v *Verdict) sign() string {
	line := fmt.Sprintf("loadgen-audit/%d result=%s run=%s began=%s audited=%s accepted=%d applied=%d lost=%d doubled=%d reordered=%d rejected=%d repeats=%d "+
		"unknown=%d breaches=%d ledger=sha256:%s", LedgerVersion, v.Result, v.Run, v.Began.Format(time.RFC3339), v.Audited.Format(time.RFC3339), v.Accepted, v.Applied,
		v.Lost, v.Doubled, v.Reordered, v.Rejected, v.Repeats, v.Unknown, len(v.Breaches), v.Ledger)
	sum := sha256.Sum256([]byte(line))
	return line + " sum=" + hex.EncodeToString(sum[:8])
}
