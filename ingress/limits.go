package ingress

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/httpapi"
	"github.com/triggerd/triggerd/ingress/internal/peers"
	"github.com/triggerd/triggerd/ingress/internal/ratelimit"
	"github.com/triggerd/triggerd/shared/config"
)

// Limits is how much of everything an ingress takes: what accounts may send, what may be in hand at once, and how long callers may take. deploy/LIMITS.md says what a
// caller sees of each.
type Limits struct {
	Rate         float64 // triggers a second of one account over the whole deployment; 0 = no limit
	Burst        int     // triggers of one account at once; 0 = what two seconds bring
	RateAccounts int     // accounts whose triggers are counted at once

	Connections  int // open at once
	Requests     int // for triggers, in hand at once
	Turns        int // of those, at work at once while several accounts send; 0 = 8 for each processor and millisecond that the log takes, -1 = no bound
	TurnTimeout  time.Duration
	BodyBytes    int64 // of bodies in hand at once
	Batches      int   // in hand at once
	Imports      int   // in hand at once
	HeaderBytes  int   // of a request's headers
	ReadHeader   time.Duration
	Read         time.Duration
	Write        time.Duration
	Idle         time.Duration
	DrainDelay   time.Duration // between not being ready any more and closing the port
	DrainTimeout time.Duration // for requests in hand when the ingress stops
}

// RegisterFlags adds the flags and sets the defaults.
func (l *Limits) RegisterFlags(fs *flag.FlagSet) {
	fs.Float64Var(&l.Rate, "rate-limit", 0, "triggers a `second` of one account over the whole deployment, divided by the live ingresses; 0 is no limit. ingress limit sets it for one account")
	fs.IntVar(&l.Burst, "rate-burst", 0, "`triggers` of one account at once, over the whole deployment; 0 is what two seconds of -rate-limit bring")
	fs.IntVar(&l.RateAccounts, "rate-accounts", ratelimit.DefaultMaxAccounts, "accounts whose triggers are counted at once")
	fs.IntVar(&l.Connections, "max-connections", httpapi.DefaultMaxConnections, "open at once; one more is answered 503 and closed")
	fs.IntVar(&l.Requests, "max-requests", httpapi.DefaultMaxRequests, "requests for triggers in hand at once; one account may have as many as are left for all others")
	fs.IntVar(&l.Turns, "turns", 0, "requests for triggers of one account at work at once while others send, each KiB of a body counting as one; twice what those have in hand if that is more; the rest waits for its turn. 0 is 4 for each processor and millisecond that the log takes, -1 no bound")
	fs.DurationVar(&l.TurnTimeout, "turn-timeout", httpapi.DefaultTurnTimeout, "how long a request waits for its account's turn")
	l.BodyBytes = httpapi.DefaultMaxBodyBytes
	fs.Var((*config.Bytes)(&l.BodyBytes), "max-body-bytes", "`size` of all bodies in hand at once; one account may have as much as is left for all others")
	fs.IntVar(&l.Batches, "batches", httpapi.DefaultBatches, "batches in hand at once; one account may have as many as are left for all others")
	fs.IntVar(&l.Imports, "imports", httpapi.DefaultImports, "imports of users in hand at once; one account may have as many as are left for all others")
	fs.IntVar(&l.HeaderBytes, "http-max-header-bytes", httpapi.DefaultMaxHeaderBytes, "`bytes` of a request's headers")
	fs.DurationVar(&l.ReadHeader, "http-read-header-timeout", httpapi.DefaultReadHeaderTimeout, "for a request's headers to arrive")
	fs.DurationVar(&l.Read, "http-read-timeout", httpapi.DefaultReadTimeout, "for a request's headers and body to arrive; for every piece of an import")
	fs.DurationVar(&l.Write, "http-write-timeout", httpapi.DefaultWriteTimeout, "from a request's headers to the end of its answer; callers may ask to wait 30s")
	fs.DurationVar(&l.Idle, "http-idle-timeout", httpapi.DefaultIdleTimeout, "between two requests of a connection")
	fs.DurationVar(&l.DrainDelay, "http-drain-delay", 0, "between not being ready any more and closing the port, for load balancers to notice")
	fs.DurationVar(&l.DrainTimeout, "http-drain-timeout", DefaultDrainTimeout, "for requests in hand when the process stops")
}

func (l *Limits) rate() ratelimit.Config {
	return ratelimit.Config{Default: ratelimit.Limit{Rate: l.Rate, Burst: l.Burst}, MaxAccounts: l.RateAccounts}
}

// apply sets what the HTTP surface is told of them.
func (l *Limits) apply(c *httpapi.Config) {
	c.MaxConnections, c.MaxRequests, c.MaxBodyBytes, c.Batches, c.Imports = l.Connections, l.Requests, l.BodyBytes, l.Batches, l.Imports
	c.Turns, c.TurnTimeout = l.Turns, l.TurnTimeout
	c.MaxHeaderBytes, c.ReadHeaderTimeout, c.ReadTimeout, c.WriteTimeout, c.IdleTimeout = l.HeaderBytes, l.ReadHeader, l.Read, l.Write, l.Idle
}

// limits are the parts that limit accounts.
type limits struct {
	peers   *peers.Peers
	limiter *ratelimit.Limiter
}

func (in *Ingress) makeLimits(deps Deps) (err error) {
	in.limits.peers, err = peers.New(peers.Config{}, peers.Deps{Broker: deps.Broker, Log: deps.Logger, Registerer: deps.Registerer})
	if err != nil {
		return err
	}
	in.limits.limiter, err = ratelimit.New(in.cfg.Limits.rate(), ratelimit.Deps{Broker: deps.Broker, Peers: in.limits.peers, Log: deps.Logger, Registerer: deps.Registerer})
	return err
}

// close ends them. That the others could not be told is no failure: the key expires.
func (l *limits) close(ctx context.Context, log *slog.Logger) {
	if l.limiter != nil {
		l.limiter.Close()
	}
	if l.peers == nil {
		return
	}
	if err := l.peers.Close(context.WithoutCancel(ctx)); err != nil {
		log.Warn("other ingresses count this one until its key expires", "error", err)
	}
}

// LimitCommand is the verb limit: it sets, removes and lists what single accounts may send, and returns the exit code (0 done, 1 failed, 2 wrong usage).
func LimitCommand(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	return ratelimit.Command(ctx, args, environ, stdout, stderr)
}
