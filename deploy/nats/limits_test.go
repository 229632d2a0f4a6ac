package nats_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/natstest"
)

// Limits are the operator's to set: every ingress knows them, counts the others, and may set none.
func TestLimitsAreTheOperators(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Members(1), natstest.Config("server.conf", keys.Env()...))
	as := func(role string) []string {
		return []string{"-nats-url", c.URL(), "-nats-nkey", keys.File(role)}
	}
	startWorker(t, as("worker")...).awaitReady()
	cl := newClient(t)
	one, two := startIngress(t, cl.keys, as("ingress")...), startIngress(t, cl.keys, as("ingress")...)
	one.awaitReady()
	two.awaitReady()
	limit := func(role string, args ...string) (int, string) {
		var out bytes.Buffer
		code := ingress.LimitCommand(t.Context(), append(args, as(role)...), nil, &out, &out)
		return code, out.String()
	}
	if code, out := limit("operator", "-account", "demo", "-rate", "0.001", "-burst", "10"); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, in := range []*member{one, two} {
		natstest.Eventually(t, func() bool {
			return metricOf(t, in, "triggerd_ingress_rate_overrides") == "1" && metricOf(t, in, "triggerd_ingress_peers") == "2"
		},
			"an ingress knows the limit and the other one")
		cl.to = in
		for i := range 6 {
			code, said := cl.call(http.MethodPost, "/actionsvc/trigger-response/", `{`)
			if want := map[bool]int{true: 400, false: 429}[i < 5]; code != want { // half of 10
				t.Errorf("trigger %d: %d %s, want %d", i, code, said, want)
			}
		}
	}
	if code, out := limit("ingress", "-account", "demo", "-rate", "0", "-timeout", "1s"); code != 1 || !strings.Contains(out, "does not allow") {
		t.Errorf("an ingress sets a limit: %d, %s", code, out)
	}
	if code, out := limit("operator", "list"); code != 0 || !strings.Contains(out, `"demo"   0.001 a second, 10 at once`) {
		t.Errorf("exit code %d: %s", code, out)
	}
	for _, m := range []*member{one, two} {
		for len(m.said) > 0 {
			if line := <-m.said; strings.Contains(line, "does not allow") {
				t.Error(line)
			}
		}
	}
}

// metricOf reads a metric without labels from the admin port.
func metricOf(t *testing.T, m *member, name string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + m.admin + "/metrics")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		return err.Error()
	}
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
