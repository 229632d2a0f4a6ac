package loadgen

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// targets reads a list of urls.
func targets(urls string) (list []target, _ error) {
	for text := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(text)
		if strings.Contains(text, "@") { // it is not shown: there may be a password in it
			return nil, errors.New("one has a user in it, who would not be sent: take -token")
		}
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is not like %s", text, DefaultURL)
		}
		t := target{addr: u.Host, host: u.Host}
		if u.Scheme == "https" {
			t.tls = &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}}
		}
		if u.Port() == "" {
			t.addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
		list = append(list, t)
	}
	return list, nil
}

// api is a client for everything but the load itself. Safe for concurrent use.
type api struct {
	urls  []string
	next  atomic.Uint64
	token string
	http  *http.Client
}

func newAPI(urls, token string) *api {
	a := &api{token: token, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: auditParallel}}}
	for text := range strings.SplitSeq(urls, ",") {
		a.urls = append(a.urls, strings.TrimSuffix(text, "/"))
	}
	return a
}

func (a *api) close() { a.http.CloseIdleConnections() }

// statusError is an answer other than 2xx.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// passing says whether the same call may succeed later.
func passing(err error) bool {
	var status *statusError
	return !errors.As(err, &status) || status.status == 429 || status.status >= 500
}

func notFound(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusNotFound
}

// call asks one of the servers once. A nil result is not read.
func (a *api) call(ctx context.Context, method, path, media string, body []byte, result any) error {
	to := a.urls[a.next.Add(1)%uint64(len(a.urls))]
	req, err := http.NewRequestWithContext(ctx, method, to+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
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

// get asks until there is an answer that stays, for apiPatience at most.
func (a *api) get(ctx context.Context, path string, result any) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	var last error
	for {
		err := a.call(ctx, http.MethodGet, path, "", nil, result)
		if err == nil || !passing(err) {
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, auditPause) {
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		}
	}
}

// apiPatience is how long a server may be away.
const apiPatience = time.Minute

// fate is what the server says of a trigger.
type fate struct {
	TriggerID   string `json:"trigger_id"`
	Status      string `json:"status"`
	Reason      string `json:"reason"`
	DuplicateOf string `json:"duplicate_of"`
	UserVersion uint64 `json:"user_version"`
	expired     bool
}

// final says that the state shows whatever there is to it: a delayed redirect is not asked for.
func (f *fate) final() bool { return f.Status != "" && f.Status != "accepted" }

// outcome asks once what became of a trigger, by its id or receipt, holding on for wait. One that is no longer kept is no error.
func (a *api) outcome(ctx context.Context, id, wait string) (f fate, err error) {
	err = a.call(ctx, http.MethodGet, "/v1/triggers/"+url.PathEscape(id)+"?wait="+wait, "", nil, &f)
	if notFound(err) && strings.Contains(err.Error(), "outcome_expired") {
		return fate{expired: true}, nil
	}
	return f, err
}

// settled asks until the outcome is final.
func (a *api) settled(ctx context.Context, id string) (f fate, err error) {
	for {
		f, err = a.outcome(ctx, id, applyWait)
		if err == nil && (f.final() || f.expired) || err != nil && !passing(err) {
			return f, err
		}
		if !pause(ctx, auditPause) {
			return f, errors.Join(ctx.Err(), err)
		}
	}
}
