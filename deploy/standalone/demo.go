package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/process"
)

// The demo: an account, a bot with three Modules, two users at the first of them.
const (
	demoAccount = "demo"
	demoModules = `{"modules":[{"id":21890,"name":"Waiting for payment"},{"id":1068935,"name":"Payment received"},{"id":656041,"name":"Form received"}]}`
	demoUser    = `{"bot_id":"shop","module_id":21890}`
	demoTimeout = 30 * time.Second // for all of it
	demoTTL     = 24 * time.Hour   // of the printed token
)

// demo declares the demo's data, through the public port like anybody, and returns what to try. What is there already stays as it is, so
// a restart does not undo what was tried. Without -demo it does nothing.
func (s *Standalone) demo(ctx context.Context) (try string, err error) {
	if !s.cfg.Demo {
		return "", nil
	}
	token, err := ingress.IssueToken(ingress.KeysIn(s.cfg.keysDir()).Signing, demoAccount, "trigger runtime", demoTTL)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	d := demo{base: "http://" + process.Reachable(s.addrs.HTTP), token: token, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	if err := d.declare(ctx); err != nil {
		s.deps.Logger.Warn("demo data could not be declared", "error", err)
	}
	return d.try(), nil
}

// demo is a client of the public port.
type demo struct {
	base, token string
	client      *http.Client
}

func (d demo) declare(ctx context.Context) error {
	if _, err := d.call(ctx, http.MethodPut, "/v1/bots/shop/modules", demoModules, http.StatusOK); err != nil {
		return err
	}
	for _, user := range []string{"alice", "bob"} {
		path := "/v1/users/" + user
		code, err := d.call(ctx, http.MethodGet, path, "", http.StatusOK, http.StatusNotFound)
		if err == nil && code == http.StatusNotFound {
			_, err = d.call(ctx, http.MethodPut, path, demoUser, http.StatusOK, http.StatusAccepted)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// call sends one request and returns its status, which must be one of want.
func (d demo) call(ctx context.Context, method, path, body string, want ...int) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewBufferString(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return 0, err
	}
	for _, code := range want {
		if resp.StatusCode == code {
			return code, nil
		}
	}
	var problem struct{ Title, Detail string }
	_ = json.Unmarshal(answer, &problem) // for the message only
	return 0, fmt.Errorf("%s %s: status %d %s %s", method, path, resp.StatusCode, problem.Title, problem.Detail)
}

// try is two commands that work as pasted.
func (d demo) try() string {
	return fmt.Sprintf(`
Tell that alice has paid:

curl -sS -X POST '%[1]s/actionsvc/trigger-response/' -H 'Authorization: JWT %[2]s' -H 'Content-Type: application/json' -d '{"user_id":"alice","module_id":1068935,"is_async":true,"custom_vars":{"order":"A-17","paid":49.90}}'

See what became of it:

curl -sS '%[1]s/v1/users/alice' -H 'Authorization: JWT %[2]s'

`, d.base, d.token)
}
