package loadgen

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func dial(t *testing.T, addr string) *conn {
	t.Helper()
	c := &conn{targets: []target{{addr: addr, host: addr}}, timeout: 10 * time.Second}
	t.Cleanup(c.close)
	return c
}

func TestConnReusesTheConnection(t *testing.T) {
	var mu sync.Mutex
	var remote []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		remote = append(remote, r.RemoteAddr)
		if len(remote) == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if len(remote) == 3 {
			w.Header().Set("Connection", "close")
		}
		io.WriteString(w, strings.Repeat("a", len(remote)))
	}))
	defer srv.Close()
	c := dial(t, srv.Listener.Addr().String())
	for n, wantStatus := range []int{200, 503, 200, 200} {
		a, err := c.exchange([]byte(hello))
		if err != nil || a.status != wantStatus || string(a.body) != strings.Repeat("a", n+1) {
			t.Errorf("request %d: %+v %v", n, a, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if remote[0] != remote[1] || remote[1] != remote[2] || remote[2] == remote[3] {
		t.Errorf("connections: %v", remote)
	}
}

// Whether the server may have seen a request decides whether its outcome is unknown.
func TestConnTellsNotSentFromNotAnswered(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		peer, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = peer.Read(make([]byte, 1))
		peer.Close()
	}()
	c := dial(t, listener.Addr().String())
	if _, err := c.exchange([]byte(hello)); err == nil || errors.Is(err, errNotSent) {
		t.Errorf("closed without an answer: %v", err)
	}
	<-served
	listener.Close()
	if _, err := c.exchange([]byte(hello)); !errors.Is(err, errNotSent) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestConnRefusesWhatIsNotHTTP(t *testing.T) {
	for _, answer := range []string{"SMTP\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			peer, err := listener.Accept()
			if err != nil {
				return
			}
			defer peer.Close()
			_, _ = peer.Read(make([]byte, 1<<10))
			io.WriteString(peer, answer)
		}()
		c := dial(t, listener.Addr().String())
		if _, err := c.exchange([]byte(hello)); !errors.Is(err, errAnswer) {
			t.Errorf("%q: %v", answer, err)
		}
		listener.Close()
	}
}
