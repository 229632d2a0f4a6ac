package operator_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/telemetry"
)

// healthcheck is what the verb says and ends with.
func healthcheck(t *testing.T, environ []string, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code, ok := operator.Healthcheck(t.Context(), "worker", append([]string{"healthcheck"}, args...), environ, &out, &out)
	if !ok {
		t.Fatal("it is not the verb")
	}
	return code, out.String()
}

// A process that waits for its broker, or drains, is alive and not ready, and the check says why.
func TestHealthcheck(t *testing.T) {
	health, broken := lifecycle.NewHealth(), errors.New("connection is closed")
	health.Register("broker", func() (string, error) { return "", broken })
	srv := httptest.NewServer(telemetry.AdminHandler(prometheus.NewRegistry(), health, nil))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	environ := []string{"TRIGGERD_ADMIN_ADDR=:" + port, "TRIGGERD_NATS_URL=nats://elsewhere"} // as the process was given it: on all addresses
	expect := func(want int, text string, args ...string) {
		t.Helper()
		if code, said := healthcheck(t, environ, args...); code != want || !strings.Contains(said, text) {
			t.Errorf("%v: code %d, %q; want %d, %q", args, code, said, want, text)
		}
	}
	expect(1, "[-]broker: connection is closed")
	expect(1, "healthcheck: /readyz?verbose answers 503")
	expect(0, "ok", "-live")
	broken = nil
	expect(0, "[+]broker")
	expect(0, "[+]broker", "-admin-addr", "0.0.0.0:"+port)
	health.Drain()
	expect(1, "draining")
	expect(2, "-timeout is 0s", "-timeout", "0")
	expect(2, "the port must be known", "-admin-addr", "127.0.0.1:0")
}

// A process that is not there, or hangs, is not well, and not waited for.
func TestHealthcheckOfNobody(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.Start()
	addr := srv.Listener.Addr().String()
	code, said := healthcheck(t, nil, "-admin-addr", addr, "-timeout", "50ms")
	close(hang)
	srv.Close()
	if code != 1 || !strings.Contains(said, "process does not answer") {
		t.Errorf("hanging: %d, %q", code, said)
	}
	if code, said = healthcheck(t, nil, "-admin-addr", addr); code != 1 || !strings.Contains(said, "process does not answer") {
		t.Errorf("gone: %d, %q", code, said)
	}
}

func TestOtherWordsAreNoHealthcheck(t *testing.T) {
	for _, args := range [][]string{nil, {"inspect"}, {"-admin-addr", ":1"}} {
		if _, ok := operator.Healthcheck(t.Context(), "worker", args, nil, nil, nil); ok {
			t.Errorf("%v is taken for one", args)
		}
	}
}
