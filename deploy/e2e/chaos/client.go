package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// callTimeout is how long a caller waits for one answer.
const callTimeout = 10 * time.Second

// client calls the ingresses, one after the other.
type client struct {
	addrs []string
	token string
	http  *http.Client
	next  atomic.Uint64
}

func newClient(addrs []string, token string) *client {
	return &client{addrs: addrs, token: token, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// answer is what a call came to: a status and a body, or an error.
type answer struct {
	status int
	body   []byte
	err    error
}

// unsent: the request reached nobody.
func (a answer) unsent() bool {
	var op *net.OpError
	return a.err != nil && errors.As(a.err, &op) && op.Op == "dial"
}

func (a answer) into(v any) error {
	if a.err != nil {
		return a.err
	}
	return json.Unmarshal(a.body, v)
}

// call asks the next ingress.
func (c *client) call(ctx context.Context, method, path, body string) answer {
	return c.keyed(ctx, "", method, path, body)
}

// keyed is call under an idempotency key; empty = none.
func (c *client) keyed(ctx context.Context, key, method, path, body string) answer {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	addr := c.addrs[c.next.Add(1)%uint64(len(c.addrs))]
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.GetBody = nil // or net/http sends one with an idempotency key again by itself, and an error of that (nobody there) says nothing of the first time
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, data, err}
}

// until repeats a call, at whichever ingress, until it is answered with one of the statuses.
func (c *client) until(ctx context.Context, method, path, body string, statuses ...int) (answer, error) {
	for {
		a := c.call(ctx, method, path, body)
		for _, s := range statuses {
			if a.err == nil && a.status == s {
				return a, nil
			}
		}
		if !pause(ctx, retryPause) {
			return a, errors.Join(errors.New(method+" "+path+": "+string(a.body)), a.err, ctx.Err())
		}
	}
}

// retryPause is between two attempts.
const retryPause = 25 * time.Millisecond

// pause waits; false if ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// pollPause is between two looks at a condition.
const pollPause = 50 * time.Millisecond

// poll waits until a condition holds.
func poll(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		if !pause(ctx, pollPause) {
			return errors.Join(errors.New("wait for "+what), ctx.Err())
		}
	}
	return nil
}
