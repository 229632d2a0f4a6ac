package nats_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/natstest"
)

// An operator revokes a token, which every ingress then refuses; with the key of an ingress, or of a worker, nobody can, nor take that back.
func TestRevokingIsTheOperators(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Config("cluster.conf", keys.Env()...))
	cl := newClient(t)
	w := startWorker(t, "-nats-url", c.URL(), "-replicas", "3", "-nats-nkey", keys.File("worker"))
	ingresses := make([]*member, 2)
	for i := range ingresses {
		ingresses[i] = startIngress(t, cl.keys, "-nats-url", c.URL(), "-replicas", "3", "-nats-nkey", keys.File("ingress"))
	}
	w.awaitReady()
	revoke := func(role string, args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		args = append([]string{"-nats-url", c.URL(), "-nats-nkey", keys.File(role), "-token-file", "-"}, args...)
		code := ingress.RevokeCommand(t.Context(), args, nil, strings.NewReader(cl.token), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	all := func(code int, says string) {
		t.Helper()
		for _, in := range ingresses {
			cl.to = in
			cl.eventually("GET", "/v1/bots/bot/modules", "", code, says)
		}
	}
	for _, in := range ingresses {
		in.awaitReady()
	}
	all(http.StatusNotFound, "")
	if code, said := revoke("ingress"); code != 1 || !strings.Contains(said, "revoking is the operator's") {
		t.Errorf("as an ingress: %d %s", code, said)
	}
	if code, said := revoke("worker"); code != 1 || !strings.Contains(said, "another role") {
		t.Errorf("as a worker: %d %s", code, said)
	}
	all(http.StatusNotFound, "")
	if code, said := revoke("operator"); code != 0 {
		t.Fatal(said)
	}
	all(http.StatusUnauthorized, `"invalid_token"`)
	if code, said := revoke("ingress", "-undo"); code != 1 || !strings.Contains(said, "not allow") {
		t.Errorf("undo as an ingress: %d %s", code, said)
	}
	c.Members()[0].Kill() // and what is known holds while servers come and go
	all(http.StatusUnauthorized, `"invalid_token"`)
	c.Members()[0].Boot()
	natstest.Eventually(t, func() bool { code, _ := revoke("operator", "-undo"); return code == 0 }, "it is undone")
	all(http.StatusNotFound, "")
	for _, in := range ingresses {
		in.quiet()
	}
}
