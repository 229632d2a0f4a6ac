// Package httpapi is the HTTP surface of triggerd: it judges what strangers send, turns what is good
// into records, and answers once they are durable.
//
// # Usage
//
// [New] takes what the handlers need as small interfaces ([Gate], [Appender], [Users], [Directory], [State], [Log]); the packages that
// fulfil them are named at each. [API.Serve] answers on a listener until [API.Shutdown].
//
// There are two surfaces. /actionsvc is the published Trigger Response API: its statuses, its envelope and
// its words are what clients in the field were written against. /v1 is ours, with errors as RFC 9457 has them. openapi.json, which is
// served, describes both; tests hold code and document to each other.
//
// # Ordering
//
// A request is judged in one order, whatever is wrong with it: token, the account's rate, overload, media type, size, JSON, missing fields, invalid
// fields, user, Module. Nothing is looked up for a request that cannot be read, and nothing is appended for one that is refused.
// Lines of an import and items of a batch are appended in their order for each user, not across users.
//
// # Failure
//
// One table (problem.go) says what each failure is on either surface. 503 with code unavailable means that nothing was
// stored; unknown_outcome that it may have been, and comes with a receipt. Accepting depends on the log and on the
// directory of Modules, never on a worker: an owner that is silent about a user is counted, not waited for. A handler that panics
// answers 500 and harms no other request.
//
// # Hostile input
//
// Headers, bodies, lines, nesting, variables and time are bounded before anything is allocated for them. Bodies are
// decoded once, into pooled buffers, by a parser that forgives nothing. Neither a token nor a value is ever logged.
//
// # Concurrency
//
// Everything exported is safe for concurrent use. The only goroutines are those of net/http and those of an import, of a batch or of a
// list of dead letters, which end before their request does.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/ingress/internal/admission"
	"github.com/triggerd/triggerd/ingress/internal/auth"
	"github.com/triggerd/triggerd/ingress/internal/directory"
	"github.com/triggerd/triggerd/shared/record"
	"github.com/triggerd/triggerd/shared/statequery"
	"github.com/triggerd/triggerd/shared/tracing"
)

// Gate says who calls: auth.Gate.
type Gate interface {
	Verify(authorization string) (auth.Identity, error)
}

// Appender makes records durable: appender.Appender. What is appended in bulk stands behind everything else.
type Appender interface {
	Append(ctx context.Context, p int, account string, line []byte) (record.Position, error)
	AppendBulk(ctx context.Context, p int, account string, line []byte) (record.Position, error)
}

// Users knows which users there are: admission.Admission.
type Users interface {
	Keyed(ctx context.Context, p int, account, user, key string) (admission.Verdict, admission.Prior)
	User(ctx context.Context, p int, account, user string) admission.Verdict
	Learn(account, user string)
	Forget(account, user string)
}

// Directory knows the Modules: directory.Directory.
type Directory interface {
	Bot(ctx context.Context, account string, module int64) (bot string, ok bool, err error)
	Declare(ctx context.Context, account, bot string, modules []directory.Module) error
	Modules(ctx context.Context, account, bot string) (modules []directory.Module, ok bool, err error)
}

// State asks the owners of partitions: statequery.Client.
type State interface {
	Ask(ctx context.Context, p int, req statequery.Request) (statequery.Reply, error)
	Outcome(ctx context.Context, account string, p int, id string, wait time.Duration) (*statequery.Outcome, error)
}

// Log reads what was appended, for when no owner can be asked: broker.Broker.
type Log interface {
	Message(ctx context.Context, p int, seq uint64) (*jetstream.RawStreamMsg, error)
}

// Defaults of [Config].
const (
	DefaultMaxBody           = 256 << 10 // bytes
	DefaultMaxVars           = 256
	DefaultReadHeaderTimeout = 5 * time.Second
	DefaultReadTimeout       = 15 * time.Second
	DefaultWriteTimeout      = 45 * time.Second // over the longest wait that a client may ask for
	DefaultIdleTimeout       = 75 * time.Second
	DefaultMaxHeaderBytes    = 16 << 10
	DefaultApplyTimeout      = 5 * time.Second
	DefaultStateTimeout      = time.Second
	DefaultImportParallel    = 64
	DefaultImportErrors      = 100
	DefaultMaxBatchBody      = 8 << 20 // bytes
	DefaultBatchParallel     = 256
	DefaultBatches           = 32
	DefaultImports           = 16
	DefaultMaxRequests       = 4096
	DefaultMaxBodyBytes      = 128 << 20
	DefaultMaxConnections    = 16384
	DefaultTurnTimeout       = 3 * time.Second
	DefaultTraceSample       = 0.01 // of an ingress; a zero of Config is 0
)

// Config is what an operator can set. Zero fields take the defaults.
type Config struct {
	Partitions        int           // of the deployment; mandatory
	DefaultWait       time.Duration // wait_time where none is sent
	OptionalModuleID  bool          // the key module_id may be absent from a trigger
	MaxBody           int64         // bytes of a body, or of a line of an import
	MaxVars           int           // custom variables in one request
	ReadHeaderTimeout time.Duration // for the headers of a request to arrive
	ReadTimeout       time.Duration // for headers and body; for every piece of an import
	WriteTimeout      time.Duration // from the end of the headers to the end of the answer
	IdleTimeout       time.Duration // between two requests of a connection
	MaxHeaderBytes    int
	ApplyTimeout      time.Duration // how long a PUT or DELETE waits until it is applied
	StateTimeout      time.Duration // how long a partition's owner may take to answer
	ImportParallel    int           // lines of an import that are appended at once
	ImportErrors      int           // errors that the answer to an import lists
	MaxBatchBody      int64         // bytes of the body of a batch; each item may have MaxBody
	BatchParallel     int           // items of a batch that are appended at once; fewer beside other accounts that send, as Turns has it
	Batches           int           // batches in hand at once; more are refused
	Imports           int           // imports in hand at once; more are refused
	MaxRequests       int           // requests for triggers in hand at once; more are refused
	MaxBodyBytes      int64         // bytes of bodies in hand at once, beside the first 4 KiB of each; more are refused
	MaxConnections    int           // open at once; more are answered 503 and closed
	Turns             int           // requests for triggers that one account has at work at once in any case while others send. 0: 4 for each processor and millisecond that the log takes; under 0: no bound
	TurnTimeout       time.Duration // how long a request waits for its turn
	TraceSample       float64       // the share of requests without a traceparent that begin a trace, if there is a Tracer
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxBody, DefaultMaxBody)
	setDefault(&c.MaxVars, DefaultMaxVars)
	setDefault(&c.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	setDefault(&c.ReadTimeout, DefaultReadTimeout)
	setDefault(&c.WriteTimeout, DefaultWriteTimeout)
	setDefault(&c.IdleTimeout, DefaultIdleTimeout)
	setDefault(&c.MaxHeaderBytes, DefaultMaxHeaderBytes)
	setDefault(&c.ApplyTimeout, DefaultApplyTimeout)
	setDefault(&c.StateTimeout, DefaultStateTimeout)
	setDefault(&c.ImportParallel, DefaultImportParallel)
	setDefault(&c.ImportErrors, DefaultImportErrors)
	setDefault(&c.MaxBatchBody, DefaultMaxBatchBody)
	setDefault(&c.BatchParallel, DefaultBatchParallel)
	setDefault(&c.Batches, DefaultBatches)
	setDefault(&c.Imports, DefaultImports)
	setDefault(&c.MaxRequests, DefaultMaxRequests)
	setDefault(&c.MaxBodyBytes, DefaultMaxBodyBytes)
	setDefault(&c.MaxConnections, DefaultMaxConnections)
	setDefault(&c.TurnTimeout, DefaultTurnTimeout)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate joins all faults.
func (c Config) Validate() error {
	var faults []error
	if c.Partitions < 1 {
		faults = append(faults, fmt.Errorf("partitions is %d, under 1", c.Partitions))
	}
	if c.DefaultWait < 0 || c.DefaultWait.Milliseconds() > maxWait {
		faults = append(faults, fmt.Errorf("-default-wait-time is %v, not within 0 and 30 days", c.DefaultWait))
	}
	if !(c.TraceSample >= 0 && c.TraceSample <= 1) {
		faults = append(faults, fmt.Errorf("-trace-sample is %v, not within 0 and 1", c.TraceSample))
	}
	return errors.Join(faults...)
}

// Deps is what the handlers need. All but Limiter, Tracer, Registerer and Logger are mandatory.
type Deps struct {
	Gate      Gate
	Appender  Appender
	Users     Users
	Directory Directory
	State     State
	Log       Log
	Limiter   Limiter         // nil = nobody is limited
	Tracer    *tracing.Tracer // nil = spans go nowhere

	Registerer prometheus.Registerer // nil = metrics are counted, not exposed
	Logger     *slog.Logger          // nil = slog.Default()
}

// API is the HTTP surface. Safe for concurrent use.
type API struct {
	cfg     Config
	deps    Deps
	echo    *echo.Echo
	server  *http.Server
	scratch *scratchPool
	metrics *metrics
	log     *failureLog
	routes  map[string][]string // path → methods

	places  *share       // of requests for triggers in hand
	bodies  *share       // of bytes of bodies
	batches *share       // of batches in hand
	imports *share       // of imports
	turns   *turns       // nil: nobody waits for one
	open    atomic.Int64 // connections

	draining atomic.Bool
	stopping context.Context // ends when Shutdown begins
	stop     context.CancelFunc
}

// New prepares the API; it listens nowhere yet.
func New(cfg Config, deps Deps) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	cfg = cfg.withDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.Default()
	}
	a := &API{
		cfg: cfg, deps: deps, echo: echo.New(), routes: make(map[string][]string),
		scratch: newScratchPool(cfg.MaxVars), log: newFailureLog(deps.Logger),
		places: newShare(int64(cfg.MaxRequests)), bodies: newShare(cfg.MaxBodyBytes), batches: newShare(int64(cfg.Batches)), imports: newShare(int64(cfg.Imports)),
	}
	if cfg.Turns >= 0 {
		a.turns = newTurns(cfg.Turns, cfg.TurnTimeout)
	}
	var err error
	if a.metrics, err = newMetrics(deps.Registerer, a.gauges()...); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.addRoutes()
	a.server = a.newServer()
	return a, nil
}

func (a *API) newServer() *http.Server {
	return &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: a.cfg.ReadHeaderTimeout,
		ReadTimeout:       a.cfg.ReadTimeout,
		WriteTimeout:      a.cfg.WriteTimeout,
		IdleTimeout:       a.cfg.IdleTimeout,
		MaxHeaderBytes:    a.cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.deps.Logger.Handler(), slog.LevelDebug),
	}
}

// Serve answers on ln until Shutdown; then it returns nil at once, before the requests in hand are done.
func (a *API) Serve(ln net.Listener) error {
	ln = &connections{Listener: ln, most: int64(a.cfg.MaxConnections), open: &a.open, refused: a.metrics.overloads.WithLabelValues(limitConnections).Inc}
	if err := a.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Drain says that Shutdown is near: /healthz answers 503, and each connection is closed with its next answer, so that clients come back elsewhere. Requests are taken
// as before.
func (a *API) Drain() {
	a.draining.Store(true)
	a.server.SetKeepAlivesEnabled(false)
}

// Shutdown stops listening, tells long requests (waits, imports) to come to an end, and returns when all are answered. If ctx
// ends first the connections are cut.
func (a *API) Shutdown(ctx context.Context) error {
	a.Drain()
	a.stop()
	err := a.server.Shutdown(ctx)
	if err != nil {
		a.server.Close()
	}
	return err
}

// Handler is the whole surface without a server: for tests, and for whoever brings their own listener.
func (a *API) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			// What can be read can be asked about. The server itself holds the body back, since
			// its own copy of the request still says HEAD.
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		if len(r.TransferEncoding) > 0 {
			// A chunked request may have come with a Content-Length as well, which net/http drops unseen
			// and a proxy in front may have believed. What follows on this connection is then not to be
			// trusted (RFC 9112, 6.1).
			w.Header().Set("Connection", "close")
		}
		a.echo.ServeHTTP(w, r)
	})
}
