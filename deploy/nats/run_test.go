package nats_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/config"
	"github.com/triggerd/triggerd/shared/natstest"
	"github.com/triggerd/triggerd/shared/process"
)

// client is an integrator.
type client struct {
	t     *testing.T
	to    *member
	token string
	http  *http.Client
	keys  string
}

func newClient(t *testing.T) *client {
	t.Helper()
	c := &client{t: t, keys: t.TempDir(), http: &http.Client{}}
	t.Cleanup(c.http.CloseIdleConnections)
	if err := ingress.EnsureKeys(c.keys); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.token, err = ingress.IssueToken(ingress.KeysIn(c.keys).Signing, "demo", "trigger runtime admin", time.Hour); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) call(method, path, body string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.to.addr+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data)
}

// eventually repeats a call until it is answered as wanted.
func (c *client) eventually(method, path, body string, code int, contains string) string {
	c.t.Helper()
	var said string
	natstest.Eventually(c.t, func() bool {
		var got int
		got, said = c.call(method, path, body)
		return got == code && strings.Contains(said, contains)
	}, "%s %s is answered with %d %q (last was %s)", method, path, code, contains, lazily(func() string { return said }))
	return said
}

// lazily is a text that is not known yet.
type lazily func() string

func (l lazily) String() string { return l() }

// journey is what an integrator does: modules, a user, a trigger that redirects the user, what became of it.
func (c *client) journey(user string) {
	c.t.Helper()
	c.eventually("PUT", "/v1/bots/bot/modules", `{"modules":[{"id":7,"name":"Seven"},{"id":8,"name":"Eight"}]}`, http.StatusOK, "")
	c.eventually("PUT", "/v1/users/"+user, `{"bot_id":"bot","module_id":7}`, http.StatusOK, "")
	accepted := c.eventually("POST", "/actionsvc/trigger-response/", fmt.Sprintf(`{"user_id":%q,"module_id":8,"is_async":true}`, user), http.StatusOK, `"trigger_id"`)
	_, rest, _ := strings.Cut(accepted, `"trigger_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	c.eventually("GET", "/v1/triggers/"+id, "", http.StatusOK, `"redirected"`)
	c.eventually("GET", "/v1/users/"+user, "", http.StatusOK, `"module_id":8`)
}

// quiet is what neither kind of process may log: a permission that it lacks.
func (m *member) quiet() {
	m.t.Helper()
	for len(m.said) > 0 {
		if line := <-m.said; strings.Contains(line, "what it tried") {
			m.t.Error(line)
		}
	}
}

// With each file a deployment runs, and each role has all that it needs.
func TestDeploymentRuns(t *testing.T) {
	for _, test := range []struct {
		file     string
		members  int
		durable  string // said by /readyz
		tls      bool
		anybody  bool // no authentication
		replicas string
	}{
		{file: "nats.conf", members: 1, durable: "sync always on triggerd (1 of 1 servers answered), -replicas 1", anybody: true, replicas: "1"},
		{file: "server.conf", members: 1, durable: "sync always on n1 (1 of 1 servers answered), -replicas 1", replicas: "1"},
		{file: "cluster.conf", members: 3, durable: "sync always on n1, n2, n3 (3 of 3 servers answered), -replicas 3", replicas: "3"},
		{file: "cluster-tls.conf", members: 3, durable: "sync always on n1, n2, n3 (3 of 3 servers answered), -replicas 3", replicas: "3", tls: true},
	} {
		t.Run(test.file, func(t *testing.T) {
			keys, ca := natstest.NewKeys(t), natstest.NewAuthority(t)
			c := natstest.StartCluster(t, natstest.Members(test.members), natstest.Config(test.file, append(keys.Env(), ca.Env()...)...))
			args := func(role string) []string {
				args := []string{"-nats-url", c.URL(), "-replicas", test.replicas}
				if !test.anybody {
					args = append(args, "-nats-nkey", keys.File(role))
				}
				if test.tls {
					cert, key := ca.Issue(role)
					args = append(args, "-nats-tls-ca", ca.CA(), "-nats-tls-cert", cert, "-nats-tls-key", key)
				}
				return args
			}
			cl := newClient(t)
			in := startIngress(t, cl.keys, args("ingress")...)
			if !test.anybody {
				in.await("waiting for one who may")
			}
			w := startWorker(t, args("worker")...)
			w.awaitReady()
			in.awaitReady()
			cl.to = in
			cl.journey("u")
			for _, m := range []*member{in, w} {
				natstest.Eventually(t, func() bool { code, _ := m.readyz(); return code == http.StatusOK }, "ready: %s", lazily(func() string { _, b := m.readyz(); return b }))
				if _, body := m.readyz(); !strings.Contains(body, test.durable) {
					t.Errorf("readyz says %s, not %s", body, test.durable)
				}
				m.quiet()
			}
		})
	}
}

// Nobody's secrets are in the files, and what a file reads from the environment is what its comments say.
func TestFilesHoldNoSecrets(t *testing.T) {
	for _, name := range []string{"nats.conf", "server.conf", "cluster.conf", "cluster-tls.conf", "permissions.conf", "jetstream.conf", "tls.conf"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			setting, _, _ := strings.Cut(line, "#")
			for _, secret := range []string{"nkey:", "password:", "_file:"} {
				if at := strings.Index(setting, secret); at >= 0 && !strings.Contains(setting[at:], "$TRIGGERD_") && !strings.Contains(setting, `user: anyone, password: ""`) {
					t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
}

// A server's variables are in the shell of whoever starts a process beside it: none is taken for a misspelt setting, and none is one.
func TestServersVariablesAreKnown(t *testing.T) {
	files, err := filepath.Glob("*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	read := map[string]bool{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, variable := range regexp.MustCompile(`\$TRIGGERD_[A-Z_]+`).FindAllString(string(data), -1) {
			read[variable[1:]] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(read)), slices.Sorted(slices.Values(config.ServerVariables)); !slices.Equal(got, want) {
		t.Errorf("the files read %v, known are %v", got, want)
	}
	environ := []string{"TRIGGERD_NATS_NMAE=x"}
	for name := range read {
		environ = append(environ, name+"=x")
	}
	if err := config.Load("worker", nil, environ, io.Discard, &process.Remote{}); err == nil || strings.Count(err.Error(), "unknown") != 1 {
		t.Errorf("beside a server: %v", err)
	}
}
