package ingress

import (
	"flag"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/httpapi"
	"github.com/triggerd/triggerd/shared/config"
)

// Defaults of Config; the rest are those of the packages that use them.
const (
	DefaultHTTPAddr     = "127.0.0.1:8080"
	DefaultDrainTimeout = 10 * time.Second
	DefaultAudience     = auth.DefaultAudience
)

// Config is what an ingress can be told.
type Config struct {
	HTTPAddr        string        // port 0 takes a free one
	KeysFile        string        // JWKS with the public keys of the token issuers; this or KeysURL is mandatory
	KeysURL         string        // of such a JWKS, https
	KeysURLCA       string        // file with the certificates that sign the server of KeysURL; empty = the system's
	KeysURLEvery    time.Duration // how often it is asked
	KeysURLTimeout  time.Duration // for an answer
	TokenAudience   string        // what aud must name
	TokenIssuer     string        // what iss must be; empty = any
	DefaultWait     time.Duration // of a redirect, where the trigger gives none
	RequireModuleID bool          // the key module_id must be in a trigger, if only with null
	MaxBody         int64         // bytes of a request's body
	MaxVars         int           // custom variables in one request
	MaxBatchBody    int64         // bytes of a batch's body; each of its triggers may have MaxBody
	AppendTimeout   time.Duration // how long a request waits for its record to be durable
	StallAfter      time.Duration // a log that has not confirmed a batch for longer makes new requests fail at once
	QueueRecords    int           // records waiting per partition
	QueueBytes      int           // bytes of the records waiting per partition
	CheckTimeout    time.Duration // how long a request waits to hear whether its user exists
	CacheUsers      int           // known users that are remembered
	TraceSample     float64       // the share of requests without a traceparent of which spans are kept
	Limits          Limits
}

// RegisterFlags adds the flags and sets the defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.HTTPAddr, "http-addr", DefaultHTTPAddr, "`address` of the public port; port 0 takes a free one")
	fs.StringVar(&c.KeysFile, "keys-file", c.KeysFile, "JWKS `file` with the public keys of the token issuers, read again when it changes")
	fs.Var((*config.URL)(&c.KeysURL), "keys-url", "`url` (https) of such a JWKS instead of -keys-file; asked again and again, never because of a token")
	fs.StringVar(&c.KeysURLCA, "keys-url-ca", "", "`file` with the certificates (PEM) that sign the server of -keys-url; the system's if empty")
	fs.DurationVar(&c.KeysURLEvery, "keys-url-every", auth.DefaultURLEvery, "how often -keys-url is asked: a key that was taken away counts no longer than that")
	fs.DurationVar(&c.KeysURLTimeout, "keys-url-timeout", auth.DefaultURLTimeout, "how long an answer of -keys-url is waited for")
	fs.StringVar(&c.TokenAudience, "token-audience", DefaultAudience, "what a token's aud must name")
	fs.StringVar(&c.TokenIssuer, "token-issuer", "", "what a token's iss must be; empty takes any")
	fs.DurationVar(&c.DefaultWait, "default-wait-time", 0, "delay of a redirect whose trigger gives no wait_time")
	fs.BoolVar(&c.RequireModuleID, "require-module-id", true, "refuse a trigger without the key module_id (null is fine)")
	c.MaxBody = httpapi.DefaultMaxBody
	fs.Var((*config.Bytes)(&c.MaxBody), "max-body", "`size` of a request's body")
	fs.IntVar(&c.MaxVars, "max-vars", httpapi.DefaultMaxVars, "custom variables in one request")
	c.MaxBatchBody = httpapi.DefaultMaxBatchBody
	fs.Var((*config.Bytes)(&c.MaxBatchBody), "max-batch-body", "`size` of a batch's body; each of its triggers may have -max-body")
	fs.DurationVar(&c.AppendTimeout, "append-timeout", appender.DefaultTimeout, "how long a request waits for its record to be durable")
	fs.DurationVar(&c.StallAfter, "append-stall-after", appender.DefaultStallAfter, "a log that has not confirmed a batch for longer makes new requests fail at once")
	fs.IntVar(&c.QueueRecords, "queue-records", appender.DefaultQueueRecords, "records that may wait in a partition's queue")
	fs.IntVar(&c.QueueBytes, "queue-bytes", appender.DefaultQueueBytes, "bytes of the records that may wait in a partition's queue")
	fs.DurationVar(&c.CheckTimeout, "check-timeout", admission.DefaultTimeout, "how long a request waits to hear whether its user exists")
	fs.IntVar(&c.CacheUsers, "cache-users", admission.DefaultCacheUsers, "known users that are remembered for 30 s")
	fs.Float64Var(&c.TraceSample, "trace-sample", httpapi.DefaultTraceSample, "with -otlp-endpoint, the `share`, from 0 to 1, of requests without a traceparent that begin a trace")
	c.Limits.RegisterFlags(fs)
}

func (c *Config) gate(deps Deps) auth.Config {
	cfg := auth.Config{KeysFile: c.KeysFile, KeysURL: c.KeysURL, KeysCA: c.KeysURLCA, URLTimeout: c.KeysURLTimeout,
		Audience: c.TokenAudience, Issuer: c.TokenIssuer, Logger: deps.Logger, Registerer: deps.Registerer}
	if c.KeysURL != "" {
		cfg.Every = c.KeysURLEvery
	}
	return cfg
}

func (c *Config) appender(partitions int) appender.Config {
	return appender.Config{Partitions: partitions, Timeout: c.AppendTimeout, StallAfter: c.StallAfter, QueueRecords: c.QueueRecords, QueueBytes: c.QueueBytes}
}

func (c *Config) admission(partitions int) admission.Config {
	return admission.Config{Partitions: partitions, Timeout: c.CheckTimeout, CacheUsers: c.CacheUsers}
}

func (c *Config) api(partitions int) httpapi.Config {
	api := httpapi.Config{Partitions: partitions, DefaultWait: c.DefaultWait, OptionalModuleID: !c.RequireModuleID, MaxBody: c.MaxBody, MaxVars: c.MaxVars,
		MaxBatchBody: c.MaxBatchBody, TraceSample: c.TraceSample}
	c.Limits.apply(&api)
	return api
}
