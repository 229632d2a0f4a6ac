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
func triggerLoop(t testing.TB, header ...string) func() int {
	return triggerLoopIn(t, newWorld(t, nil), header...)
}

func triggerLoopIn(t testing.TB, w *world, header ...string) func() int {
	w.appender.silent = true
	gate, authorization := realGate(t)
	w.api.deps.Gate = gate
	r := httptest.NewRequest(http.MethodPost, triggerPath, nil)
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
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

// maxAllocs is what a trigger may allocate between the server and the appender. The server's own come on top. One with a trace says so in its
// answer, which takes a text and a list of texts.
const (
	maxAllocs   = 5
	traceAllocs = 2
)

func TestAllocs(t *testing.T) {
	expect := func(most float64, trigger func() int) {
		t.Helper()
		if status := trigger(); status != http.StatusOK {
			t.Fatal(status)
		}
		if n := testing.AllocsPerRun(1000, func() { trigger() }); n > most && !raceEnabled {
			t.Errorf("%v allocations, over %v", n, most)
		}
	}
	expect(maxAllocs, triggerLoop(t))
	expect(maxAllocs+traceAllocs, triggerLoop(t, "Traceparent", someTrace))
	w := newWorld(t, nil)
	withTracer(t, w, 0)
	expect(maxAllocs, triggerLoopIn(t, w)) // that spans could be exported costs nothing where none are
}

func BenchmarkTrigger(b *testing.B) { benchTrigger(b, triggerLoop(b)) }

func BenchmarkTracedTrigger(b *testing.B) { benchTrigger(b, triggerLoop(b, "Traceparent", someTrace)) }

func benchTrigger(b *testing.B, trigger func() int) {
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
