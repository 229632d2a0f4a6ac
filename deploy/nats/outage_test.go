package nats_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/triggerd/triggerd/shared/natstest"
)

// A cluster loses each of its servers in turn, and then all at once: ingress and worker go on with what is left, the ingress answers 503 when
// nothing is, and when the servers are back nobody needs a restart.
func TestDeploymentSurvivesItsServers(t *testing.T) {
	keys := natstest.NewKeys(t)
	c := natstest.StartCluster(t, natstest.Config("cluster.conf", keys.Env()...))
	cl := newClient(t)
	w := startWorker(t, "-nats-url", c.URL(), "-replicas", "3", "-nats-nkey", keys.File("worker"))
	in := startIngress(t, cl.keys, "-nats-url", c.URL(), "-replicas", "3", "-nats-nkey", keys.File("ingress"))
	w.awaitReady()
	in.awaitReady()
	cl.to = in
	cl.journey("before")
	for i, m := range c.Members() {
		m.Kill()
		cl.journey(fmt.Sprintf("without-%d", i))
		m.Boot()
		m.AwaitCurrent()
	}
	c.Kill()
	cl.eventually("PUT", "/v1/users/nobody", `{"bot_id":"bot","module_id":7}`, http.StatusServiceUnavailable, `"unavailable"`)
	natstest.Eventually(t, func() bool { code, _ := in.readyz(); return code == http.StatusServiceUnavailable }, "the ingress is not ready")
	c.Boot()
	cl.journey("after")
	for _, m := range []*member{in, w} {
		natstest.Eventually(t, func() bool { code, _ := m.readyz(); return code == http.StatusOK }, "ready: %s", lazily(func() string { _, b := m.readyz(); return b }))
	}
	for _, user := range []string{"before", "without-0", "without-1", "without-2"} {
		cl.eventually("GET", "/v1/users/"+user, "", http.StatusOK, `"module_id":8`)
	}
}
