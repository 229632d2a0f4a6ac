package alerts

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/natstest"
)

// world is a deployment with a Prometheus that looks at it: a broker, two workers, an ingress, and an integrator who sends without end.
type world struct {
	*watcher
	lazy    atomic.Bool // the broker's next start does not sync always
	broker  *natstest.Server
	dir     string
	url     []string // the flag of the processes
	workers []*program
	ingress *program
	http    string
	token   string
	client  http.Client
}

// newWorld is quiet when it returns. args are those of all processes.
func newWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.broker = natstest.Start(t, natstest.Tune(func(o *server.Options) { o.SyncAlways = !w.lazy.Load() }))
	w.url = []string{"-nats-url", w.broker.URL()}
	w.client.Timeout = 10 * time.Second
	t.Cleanup(w.client.CloseIdleConnections)
	if err := ingress.EnsureKeys(w.dir); err != nil {
		t.Fatal(err)
	}
	keys := ingress.KeysIn(w.dir)
	var err error
	if w.token, err = ingress.IssueToken(keys.Signing, "demo", "trigger runtime admin", time.Hour); err != nil {
		t.Fatal(err)
	}
	all := append(append(w.url[:2:2], "-member-ttl", "3s", "-log-level", "warn"), args...)
	var admins []string
	for i := range 2 {
		admin := natstest.FreeAddr(t)
		worker := newProgram(t, bin("worker"), append(all[:len(all):len(all)], "-admin-addr", admin, "-data-dir", filepath.Join(w.dir, fmt.Sprint("worker", i)), "-digest-every", "1s")...)
		worker.start()
		w.workers, admins = append(w.workers, worker), append(admins, admin)
	}
	w.http = natstest.FreeAddr(t)
	admin := natstest.FreeAddr(t)
	w.ingress = newProgram(t, bin("ingress"), append(all[:len(all):len(all)], "-admin-addr", admin, "-http-addr", w.http, "-keys-file", keys.Public, "-append-timeout", "1s")...)
	w.ingress.start()
	w.watcher = watch(t, []string{admin}, admins)
	w.await("users are taken", func() bool { return w.register() })
	w.await("triggers are accepted", func() bool { return w.trigger(0, "n", "0") == http.StatusOK })
	w.send()
	w.await("both partitions are served", func() bool {
		return w.query("sum(triggerd_worker_owned_partitions)") == w.query("count(triggerd_ingress_check_breaker_open)")
	})
	w.quiet("at first")
	return w
}

// users are enough for each partition to have some.
const users = 50

func (w *world) register() bool {
	if w.call(http.MethodPut, "/v1/bots/shop/modules", `{"modules":[{"id":1,"name":"One"}]}`) != http.StatusOK {
		return false
	}
	for i := range users {
		if status := w.call(http.MethodPut, fmt.Sprintf("/v1/users/u%d", i), `{"bot_id":"shop"}`); status/100 != 2 {
			return false
		}
	}
	return true
}

// send is the integrator: a trigger every now and then, whatever becomes of it, until the test ends.
func (w *world) send() {
	var wg sync.WaitGroup
	done := make(chan struct{})
	w.t.Cleanup(func() { close(done); wg.Wait() })
	wg.Go(func() {
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-every.C:
				w.trigger(i%users, "n", fmt.Sprint(i))
			}
		}
	})
}

// trigger sets a variable of a user; value is JSON.
func (w *world) trigger(user int, name, value string) (status int) {
	return w.call(http.MethodPost, "/actionsvc/trigger-response/", fmt.Sprintf(`{"user_id":"u%d","module_id":1,"custom_vars":{%q:%s}}`, user, name, value))
}

// call returns the status, 0 if nobody answered.
func (w *world) call(method, path, body string) int {
	req, err := http.NewRequest(method, "http://"+w.http+path, strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "JWT "+w.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
