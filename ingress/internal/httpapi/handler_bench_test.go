package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triggerd/triggerd/ingress/internal/auth"
)

// realGate makes a gate with a key of its own, and a header's value that it accepts.
func realGate(t testing.TB) (gate *auth.Gate, authorization string) {
	t.Helper()
	dir := t.TempDir()
	if err := auth.EnsureKeys(dir); err != nil {
		t.Fatal(err)
	}
	gate, err := auth.New(auth.Config{KeysFile: filepath.Join(dir, auth.KeysFile), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.LoadSigner(filepath.Join(dir, auth.SigningKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Issue("demo", "trigger", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return gate, "JWT " + token
}

// nowhere is a ResponseWriter that keeps the status alone.
type nowhere struct {
	header http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(status int)      { n.status = status }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// body is a request's body that can be read again.
type body struct{ strings.Reader }

func (*body) Close() error { return nil }

// triggerLoop returns a function that sends one and the same trigger through the handler.
func triggerLoop(t testing.TB) func() int {
	w := newWorld(t, nil)
	w.appender.silent = true
	gate, authorization := realGate(t)
	w.api.deps.Gate = gate
	r := httptest.NewRequest(http.MethodPost, triggerPath, nil)
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(benchBody))
	b := &body{}
	r.Body = b
	out := &nowhere{header: http.Header{}}
	handler := w.api.Handler()
	return func() int {
		b.Reset(benchBody)
		clear(out.header)
		handler.ServeHTTP(out, r)
		return out.status
	}
}

// maxAllocs is what a trigger may allocate between the server and the appender. The server's own come on top.
const maxAllocs = 5

func TestAllocs(t *testing.T) {
	trigger := triggerLoop(t)
	if status := trigger(); status != http.StatusOK {
		t.Fatal(status)
	}
	if n := testing.AllocsPerRun(1000, func() { trigger() }); n > maxAllocs && !raceEnabled {
		t.Errorf("%v allocations, over %d", n, maxAllocs)
	}
}

func BenchmarkTrigger(b *testing.B) {
	trigger := triggerLoop(b)
	b.ReportAllocs()
	for b.Loop() {
		if trigger() != http.StatusOK {
			b.Fatal("refused")
		}
	}
}

// BenchmarkServer goes over loopback with a client that costs little, so that the allocations are those of
// net/http, Echo and the handler.
func BenchmarkServer(b *testing.B) {
	w := newWorld(b, nil)
	w.appender.silent = true
	gate, authorization := realGate(b)
	w.api.deps.Gate = gate
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.api.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	request := []byte("POST " + triggerPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + authorization + "\r\nContent-Type: application/json\r\n" + sized(benchBody))
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := conn.Read(answer)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200") {
			b.Fatalf("%s, %v", answer[:n], err)
		}
	}
	b.StopTimer()
	conn.Close()
	if err := errors.Join(w.api.Shutdown(context.Background()), <-done); err != nil {
		b.Fatal(err)
	}
}
