package loadgen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
)

const (
	importLines    = 5000 // users in one request
	importParallel = 4
	importTimeout  = 5 * time.Minute
	importPause    = 200 * time.Millisecond // after a server was too busy
	runNameLength  = 8
)

// Session is one run in the making: its users and what they were promised.
type Session struct {
	cfg      Config
	name     string // what the ids of its users begin with
	seed     uint64 // of what is drawn by lot
	targets  []target
	api      *api
	history  *history
	ledger   *ledger
	mu       sync.Mutex
	doubtful map[int]bool // while importing under mu; users who may be registered more than once
	baseline bool         // answers are those of a server that promises nothing

	accepted, refused, unknown atomic.Uint64 // for the progress line
	fromDue, fromSent          latencies
	senders                    []*sender
	elapsed                    time.Duration
	missed                     uint64 // triggers that were due and had no connection free
	audit                      findings
}

// Baseline is a run against a server that answers like triggerd and keeps nothing: nothing is declared and nothing can be audited.
func Baseline(cfg Config) (*Session, error) {
	r, err := newRun(cfg)
	if err == nil {
		r.baseline = true
	}
	return r, err
}

// Prepare declares the Module and imports the users. cfg must be valid, with a token.
func Prepare(ctx context.Context, cfg Config) (*Session, error) {
	r, err := newRun(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	if err := r.declare(ctx); err != nil {
		return nil, fmt.Errorf("declare module: %w", err)
	}
	if err := r.importAll(ctx); err != nil {
		return nil, fmt.Errorf("import users: %w", err)
	}
	if err := r.settleDoubtful(ctx); err != nil {
		return nil, fmt.Errorf("settle imported users: %w", err)
	}
	return r, r.openLedger()
}

// openLedger begins with how the users are.
func (r *Session) openLedger() (err error) {
	if r.cfg.Ledger == "" {
		return nil
	}
	if r.ledger, err = createLedger(r.cfg.Ledger, r.history.header); err != nil {
		return err
	}
	var lines []byte
	for n := range r.doubtful {
		lines = append(appendLine(lines, lineRegistered, n, r.history.users[n].registered), '\n')
	}
	if !r.ledger.write(lines) {
		return r.ledger.err()
	}
	return nil
}

// Close ends the ledger, if there is one. Nothing can be driven after it.
func (r *Session) Close() error { return r.ledger.close(r.history.sum()) }

func newRun(cfg Config) (*Session, error) {
	cfg.Batch = max(cfg.Batch, DefaultBatch)
	id := nuid.Next()
	r := &Session{cfg: cfg, name: "load-" + id[len(id)-runNameLength:], seed: rand.Uint64(), doubtful: map[int]bool{}}
	r.history = newHistory(header{Run: r.name, URL: cfg.URL, Users: cfg.Users, Began: time.Now().UTC().Truncate(time.Millisecond)})
	var err error
	if r.targets, err = targets(cfg.URL); err != nil {
		return nil, err
	}
	r.api = newAPI(cfg.URL, cfg.Token)
	return r, nil
}

func (r *Session) declare(ctx context.Context) error {
	body := fmt.Sprintf(`{"modules":[{"id":%d,"name":"Load"}]}`, moduleID)
	return r.api.call(ctx, http.MethodPut, "/v1/bots/"+botID+"/modules", "application/json", []byte(body), nil)
}

// importAll has a few imports under way at once: one alone mostly waits for the broker.
func (r *Session) importAll(ctx context.Context) error {
	var next atomic.Int64
	importers, ctx := errgroup.WithContext(ctx)
	for range importParallel {
		importers.Go(func() error {
			for {
				end := int(next.Add(importLines))
				for first := end - importLines; first < min(end, r.cfg.Users); {
					done, err := r.importSome(ctx, first, min(end, r.cfg.Users))
					if err != nil {
						return err
					}
					first += done
				}
				if end >= r.cfg.Users {
					return nil
				}
			}
		})
	}
	return importers.Wait()
}

// imported is the answer to an import.
type imported struct {
	Errors []struct {
		Line  int    `json:"line"`
		Code  string `json:"code"`
		Error string `json:"error"`
	} `json:"errors"`
}

// importSome imports users first to end and returns how many of them, from the first on, need no repeating. A busy server may give up in
// the middle; what it said nothing certain about is imported again, and noted as doubtful.
func (r *Session) importSome(ctx context.Context, first, end int) (done int, err error) {
	var lines bytes.Buffer
	for n := first; n < end; n++ {
		fmt.Fprintf(&lines, `{"user_id":%q,"bot_id":%q,"module_id":%d}`+"\n", userName(r.name, n), botID, moduleID)
	}
	var result imported
	err = r.api.call(ctx, http.MethodPost, "/v1/users", "application/x-ndjson", lines.Bytes(), &result)
	if err == nil && len(result.Errors) == 0 {
		return end - first, nil
	}
	done, doubt := 0, end-first
	if n := len(result.Errors); err == nil {
		for _, e := range result.Errors {
			if e.Code != "unknown_outcome" && e.Code != "unavailable" {
				return 0, fmt.Errorf("line %d: %s", e.Line, e.Error)
			}
		}
		done, doubt = result.Errors[0].Line-1, result.Errors[n-1].Line
	}
	r.mu.Lock()
	for n := first + done; n < first+doubt; n++ {
		r.doubtful[n] = true
	}
	r.mu.Unlock()
	if !pause(ctx, importPause) {
		return 0, errors.Join(ctx.Err(), err)
	}
	return done, nil
}

// settleDoubtful finds out how often users were registered: after one more time, which is answered when it is applied, the state says so.
func (r *Session) settleDoubtful(ctx context.Context) error {
	body := fmt.Appendf(nil, `{"bot_id":%q,"module_id":%d}`, botID, moduleID)
	for n := range r.doubtful {
		path := "/v1/users/" + userName(r.name, n)
		var state userState
		err := r.api.call(ctx, http.MethodPut, path, "application/json", body, nil)
		if err == nil {
			err = r.api.call(ctx, http.MethodGet, path, "", nil, &state)
		}
		if err != nil {
			return err
		}
		r.history.users[n].registered = state.Version
	}
	return nil
}

// Accepted is how many triggers were accepted so far. Safe at any time.
func (r *Session) Accepted() uint64 { return r.accepted.Load() }
