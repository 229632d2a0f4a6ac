package ingress_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/natstest"
)

// issue makes a token by the command.
func issue(t *testing.T, cfg ingress.Config, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	signing := strings.Replace(cfg.KeysFile, "jwks.json", "signing.pem", 1)
	if code := ingress.TokenCommand(append([]string{"-signing-key", signing, "-account", "demo", "-scope", "runtime"}, args...), &stdout, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// revoke runs the command against a broker.
func revoke(t *testing.T, url, stdin string, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"-nats-url", url}, args...)
	if code := ingress.RevokeCommand(t.Context(), args, nil, strings.NewReader(stdin), &stdout, &stderr); code != 0 {
		t.Fatalf("%d %s %s", code, stdout.String(), stderr.String())
	}
}

// ask is a call with a token; 404 is the answer to a good one.
func ask(t *testing.T, in *ingress.Ingress, token string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+in.Addr()+"/v1/bots/none/modules", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Every ingress refuses a token that was revoked through the broker, although it has let it pass before; one that starts afterwards never lets it pass.
func TestRevokedTokensAreRefusedEverywhere(t *testing.T) {
	cfg, deps := setup(t)
	url := deps.Broker.Conn.ConnectedUrl()
	start := func() *ingress.Ingress {
		deps.Registerer, deps.Health = nil, nil
		in, err := ingress.New(cfg, deps)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(run(t, in))
		return in
	}
	all := []*ingress.Ingress{start(), start()}
	first, second := issue(t, cfg, "-jti", "crm-1"), issue(t, cfg)
	for _, in := range all {
		if a, b := ask(t, in, first), ask(t, in, second); a != http.StatusNotFound || b != http.StatusNotFound {
			t.Fatalf("good tokens are answered %d and %d", a, b)
		}
	}
	revoke(t, url, "", "-jti", "crm-1", "-until", "1h")
	for _, in := range all {
		natstest.Eventually(t, func() bool { return ask(t, in, first) == http.StatusUnauthorized }, "the first is refused")
		if status := ask(t, in, second); status != http.StatusNotFound {
			t.Errorf("the second is answered %d", status)
		}
	}
	revoke(t, url, second, "-token-file", "-")
	all = append(all, start())
	if a, b := ask(t, all[2], first), ask(t, all[2], second); a != http.StatusUnauthorized || b != http.StatusUnauthorized {
		t.Errorf("an ingress that is new answers %d and %d", a, b)
	}
	revoke(t, url, "", "-jti", "crm-1", "-undo")
	for _, in := range all {
		natstest.Eventually(t, func() bool { return ask(t, in, first) == http.StatusNotFound }, "the first passes again")
	}
}

// Until an ingress knows which tokens are revoked it answers nobody: those who call wait.
func TestNobodyIsServedBeforeRevocationsAreKnown(t *testing.T) {
	cfg, deps := setup(t)
	srv := natstest.Start(t, natstest.Lazy())
	px := srv.Proxy()
	deps.Broker = ensure(t, srv.ConnectTo(px.URL()))
	px.Refuse(true)
	px.Cut()
	in, err := ingress.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, in)()
	token := issue(t, cfg, "-jti", "crm-1")
	answered := make(chan int, 1)
	go func() { answered <- ask(t, in, token) }()
	revoke(t, srv.URL(), "", "-jti", "crm-1")
	if _, ready := deps.Health.Statuses(); ready {
		t.Error("ready")
	}
	select {
	case status := <-answered:
		t.Errorf("answered %d", status)
	default:
	}
	px.Refuse(false)
	if status := <-answered; status != http.StatusUnauthorized {
		t.Errorf("answered %d when they are known", status)
	}
}

// An ingress takes its keys from a server, and a key that the server has no longer stops counting without a restart. While the server is away the last
// ones hold, and a process that never had any does not start.
func TestKeysFromAServer(t *testing.T) {
	cfg, deps := setup(t)
	var down atomic.Bool
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(cfg.KeysFile)
		if err != nil || down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(data)
	}))
	defer keys.Close()
	remote := cfg
	remote.KeysFile, remote.KeysURL, remote.KeysURLEvery = "", keys.URL, time.Second
	in, err := ingress.New(remote, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, in)()
	old := issue(t, cfg)
	if status := ask(t, in, old); status != http.StatusNotFound {
		t.Fatalf("answered %d", status)
	}
	down.Store(true)
	said := func(text string) bool {
		statuses, ready := deps.Health.Statuses()
		for _, s := range statuses {
			if s.Name == "keys" {
				return ready && strings.Contains(s.Detail, text)
			}
		}
		return false
	}
	natstest.Eventually(t, func() bool { return said("it answers 503") }, "it is ready, and says that its keys may be old")
	if status := ask(t, in, old); status != http.StatusNotFound {
		t.Errorf("with the last good keys it answers %d", status)
	}
	deps.Registerer = nil
	if _, err := ingress.New(remote, deps); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("without ever having had keys: %v", err)
	}
	down.Store(false)
	rotate(t, strings.TrimSuffix(cfg.KeysFile, "/jwks.json"))
	natstest.Eventually(t, func() bool { return ask(t, in, old) == http.StatusUnauthorized }, "the old key counts no longer")
	if status := ask(t, in, issue(t, cfg)); status != http.StatusNotFound {
		t.Errorf("the new key's token is answered %d", status)
	}
}

// rotate replaces the signing key and retires the old one, all at once.
func rotate(t *testing.T, dir string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	do := func(args ...string) string {
		stdout.Reset()
		if code := ingress.KeysCommand(append(args, "-dir", dir), &stdout, &stderr); code != 0 {
			t.Fatal(stderr.String())
		}
		return stdout.String()
	}
	oldID, _, _ := strings.Cut(do("list"), "\t")
	do("add")
	if err := os.Rename(dir+"/next.pem", dir+"/signing.pem"); err != nil {
		t.Fatal(err)
	}
	do("retire", "-kid", oldID)
}
