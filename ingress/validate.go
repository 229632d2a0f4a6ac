package ingress

import (
	"errors"
	"fmt"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/appender"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/process"
	"github.com/triggerd/triggerd/shared/statequery"
)

// minWait is the least that waiting for the broker or a worker may take: less is none.
const minWait = time.Millisecond

// faults joins what is wrong.
type faults []error

func (f *faults) add(bad bool, format string, args ...any) {
	if bad {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

// positive takes settings by their flags.
func (f *faults) positive(name string, v int64) { f.add(v < 1, "-%s is %d, under 1", name, v) }

func (f *faults) atLeast(name string, v, least time.Duration) {
	f.add(v < least, "-%s is %v, under %v", name, v, least)
}

func size(v int64) string { return (*config.Bytes)(&v).String() }

// Validate joins all faults.
func (c *Config) Validate() error {
	var f faults
	f.add(c.TokenAudience == "", "-token-audience is empty")
	f.positive("max-body", c.MaxBody)
	f.positive("max-vars", int64(c.MaxVars))
	f.positive("max-batch-body", c.MaxBatchBody)
	f.positive("queue-records", int64(c.QueueRecords))
	f.positive("queue-bytes", int64(c.QueueBytes))
	f.positive("cache-users", int64(c.CacheUsers))
	f.atLeast("check-timeout", c.CheckTimeout, minWait)
	f.atLeast("append-timeout", c.AppendTimeout, minWait)
	f.atLeast("append-stall-after", c.StallAfter, minWait)
	f.atLeast("keys-url-every", c.KeysURLEvery, auth.MinURLEvery)
	f.atLeast("keys-url-timeout", c.KeysURLTimeout, minWait)
	c.contradictions(&f)
	keys := c.gate(Deps{})
	keys.Every, keys.URLTimeout = 0, 0 // judged above
	return errors.Join(append(f, config.Address("http-addr", c.HTTPAddr), c.Limits.Validate(), keys.Validate(), c.api(1).Validate())...)
}

// contradictions are settings of which each is right, and which cannot all be meant.
func (c *Config) contradictions(f *faults) {
	l := &c.Limits
	f.add(c.MaxBody > appender.MaxRecordBytes, "-max-body is %s, over the %s of a record: no log takes it", size(c.MaxBody), size(appender.MaxRecordBytes))
	f.add(c.MaxBody > c.MaxBatchBody, "-max-body is %s, over -max-batch-body %s: each trigger of a batch may have -max-body", size(c.MaxBody), size(c.MaxBatchBody))
	f.add(c.MaxBody > int64(c.QueueBytes), "-max-body is %s, over -queue-bytes %s: such a request would always be refused", size(c.MaxBody), size(int64(c.QueueBytes)))
	f.add(l.BodyBytes > 0 && c.MaxBatchBody > l.BodyBytes/2, "-max-batch-body is %s, over half of -max-body-bytes %s, which is all that one account gets",
		size(c.MaxBatchBody), size(l.BodyBytes))
	waits := l.TurnTimeout + c.CheckTimeout + c.AppendTimeout
	f.add(waits >= l.Write, "-turn-timeout, -check-timeout and -append-timeout are %v together, not under -http-write-timeout %v: the answer would be cut off", waits, l.Write)
	f.add(l.DrainTimeout > 0 && waits > l.DrainTimeout, "-turn-timeout, -check-timeout and -append-timeout are %v together, over -http-drain-timeout %v: requests in hand would be cut off", waits, l.DrainTimeout)
	if c.KeysURL == "" {
		f.add(c.KeysURLEvery != auth.DefaultURLEvery, "-keys-url-every is given without -keys-url")
		f.add(c.KeysURLTimeout != auth.DefaultURLTimeout, "-keys-url-timeout is given without -keys-url")
	} else {
		f.add(c.KeysURLTimeout > c.KeysURLEvery, "-keys-url-timeout is %v, over -keys-url-every %v", c.KeysURLTimeout, c.KeysURLEvery)
	}
}

// Fit implements process.Fitting.
func (c *Config) Fit(with process.Config) error {
	var f faults
	f.add(config.SamePort(c.HTTPAddr, with.AdminAddr), "-http-addr %s and -admin-addr %s are one port", c.HTTPAddr, with.AdminAddr)
	window := with.Deployment.DuplicateWindow
	f.add(window > 0 && c.AppendTimeout >= window, "-append-timeout is %v, not under -duplicate-window %v: a caller could be told the id of a copy", c.AppendTimeout, window)
	return errors.Join(f...)
}

// Check implements config.Checker: keys in a file are read as a start reads them. A server is not asked.
func (c *Config) Check() error {
	if c.KeysFile == "" {
		return nil
	}
	return auth.CheckFile("keys-file", c.KeysFile)
}

// Validate joins all faults.
func (l *Limits) Validate() error {
	var f faults
	for _, v := range []struct {
		name  string
		limit ratelimit.Limit
	}{{"rate-limit", ratelimit.Limit{Rate: l.Rate}}, {"rate-burst", ratelimit.Limit{Burst: l.Burst}}} {
		if err := v.limit.Validate(); err != nil {
			f.add(true, "-%s: %w", v.name, err)
		}
	}
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"rate-accounts", int64(l.RateAccounts)}, {"max-connections", int64(l.Connections)}, {"max-requests", int64(l.Requests)},
		{"max-body-bytes", l.BodyBytes}, {"batches", int64(l.Batches)}, {"imports", int64(l.Imports)}, {"http-max-header-bytes", int64(l.HeaderBytes)},
	} {
		f.positive(v.name, v.value)
	}
	f.atLeast("http-read-header-timeout", l.ReadHeader, minWait)
	f.atLeast("http-read-timeout", l.Read, minWait)
	f.atLeast("http-idle-timeout", l.Idle, minWait)
	f.atLeast("turn-timeout", l.TurnTimeout, minWait)
	f.atLeast("http-drain-timeout", l.DrainTimeout, minWait)
	f.add(l.Write <= statequery.MaxWait, "-http-write-timeout is %v, not over the %v that callers may ask to wait", l.Write, statequery.MaxWait)
	f.add(l.Turns < -1, "-turns is %d, under -1", l.Turns)
	f.add(l.DrainDelay < 0, "-http-drain-delay is %v, under 0", l.DrainDelay)
	f.add(l.Burst > 0 && l.Rate == 0, "-rate-burst is given without -rate-limit")
	f.add(l.Read >= minWait && l.ReadHeader > l.Read, "-http-read-header-timeout is %v, over -http-read-timeout %v, which is for headers and body", l.ReadHeader, l.Read)
	return errors.Join(f...)
}
