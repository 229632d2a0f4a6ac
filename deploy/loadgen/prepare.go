package loadgen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
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
	host     string
	client   *http.Client
	users    []ledger
	mu       sync.Mutex
	doubtful map[int]bool // while importing under mu; users who may be registered more than once
	baseline bool         // answers are those of a server that promises nothing

	accepted atomic.Uint64 // for the progress bar
	senders  []*sender
	elapsed  time.Duration
	audit    audit
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
	return r, nil
}

func newRun(cfg Config) (*Session, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	cfg.Batch = max(cfg.Batch, DefaultBatch)
	id := nuid.Next()
	r := &Session{
		cfg: cfg, name: "load-" + id[len(id)-runNameLength:], host: u.Host, users: make([]ledger, cfg.Users), doubtful: map[int]bool{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: auditParallel}},
	}
	for n := range r.users {
		r.users[n].registered = 1
	}
	return r, nil
}

func (r *Session) declare(ctx context.Context) error {
	body := fmt.Sprintf(`{"modules":[{"id":%d,"name":"Load"}]}`, moduleID)
	return r.call(ctx, http.MethodPut, "/v1/bots/"+botID+"/modules", "application/json", []byte(body), nil)
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
	err = r.call(ctx, http.MethodPost, "/v1/users", "application/x-ndjson", lines.Bytes(), &result)
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
		err := r.call(ctx, http.MethodPut, path, "application/json", body, nil)
		if err == nil {
			err = r.call(ctx, http.MethodGet, path, "", nil, &state)
		}
		if err != nil {
			return err
		}
		r.users[n].registered = state.Version
	}
	return nil
}

// Accepted is how many triggers were accepted so far. Safe at any time.
func (r *Session) Accepted() uint64 { return r.accepted.Load() }

// statusError is an answer other than 2xx.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// call is for everything but the load itself. A nil result is not read.
func (r *Session) call(ctx context.Context, method, path, media string, body []byte, result any) error {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.cfg.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.cfg.Token)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &statusError{resp.StatusCode, fmt.Sprintf("%.300s", answer)}
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer, result)
}
