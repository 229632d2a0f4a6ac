package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triggerd/triggerd/shared/statequery"
)

// These tests run with a clock of their own, on connections in memory, so that the timeouts are those of production and
// take no time.

// pipes is a listener whose connections are made by hand.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// slowly runs a test with one connection to a server of the default timeouts.
func slowly(t *testing.T, test func(t *testing.T, w *world, conn net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- w.api.Serve(ln) }()
		client, server := net.Pipe()
		ln.conns <- server
		test(t, w, client)
		client.Close()
		if err := w.api.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// rest reads what the server says until it closes the connection, and tells how long it took.
func rest(conn net.Conn) (answer string, took time.Duration) {
	start := time.Now()
	data, _ := io.ReadAll(conn)
	return string(data), time.Since(start)
}

func wantTime(t *testing.T, took, low, high time.Duration) {
	t.Helper()
	if took < low || took > high {
		t.Errorf("took %v, want %v to %v", took, low, high)
	}
}

func TestNoHeaders(t *testing.T) {
	slowly(t, func(t *testing.T, _ *world, conn net.Conn) {
		_, took := rest(conn)
		wantTime(t, took, DefaultReadHeaderTimeout, DefaultReadHeaderTimeout)
	})
}

// TestSlowHeaders sends a header a second: it is the whole that has its time, not each piece.
func TestSlowHeaders(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		start := time.Now()
		io.WriteString(conn, head)
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			for {
				<-time.After(time.Second)
				if _, err := io.WriteString(conn, "X-More: yes\r\n"); err != nil {
					return
				}
			}
		})
		rest(conn)
		wantTime(t, time.Since(start), DefaultReadHeaderTimeout, DefaultReadHeaderTimeout+time.Second)
	})
}

func TestSlowBody(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			io.WriteString(conn, head+"Content-Length: 1000\r\n\r\n")
			for {
				<-time.After(time.Second)
				if _, err := io.WriteString(conn, " "); err != nil {
					return
				}
			}
		})
		answer, took := rest(conn)
		wantTime(t, took, DefaultReadTimeout, DefaultReadTimeout+time.Second)
		wantStatus(t, answer, 400)
		if !strings.Contains(answer, `"code":"invalid_json"`) || !strings.Contains(answer, "Connection: close") {
			t.Errorf("answer %q", answer)
		}
		if got := w.appender.all(); len(got) != 0 {
			t.Errorf("appended %+v", got)
		}
	})
}

// TestSlowReader shows that a client that does not take its answer does not keep the connection.
func TestSlowReader(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
		<-time.After(DefaultWriteTimeout + time.Second)
		if answer, _ := rest(conn); len(answer) >= len(document) {
			t.Errorf("all %d bytes came after all", len(answer))
		}
	})
}

func TestIdleConnection(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		go io.WriteString(conn, head+sized(`{"user_id":"alice","module_id":null}`))
		answer, took := rest(conn)
		wantStatus(t, answer, 200)
		wantTime(t, took, DefaultIdleTimeout, DefaultIdleTimeout)
	})
}

const importHead = "POST /v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: JWT demo:runtime\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n"

func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

// TestSlowImport shows that an import may take as long as it wants, as long as it keeps coming: it has the time of a body for
// each piece.
func TestSlowImport(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			io.WriteString(conn, importHead+"Transfer-Encoding: chunked\r\n\r\n")
			for i := range 20 {
				<-time.After(DefaultReadTimeout - time.Second)
				io.WriteString(conn, chunk(fmt.Sprintf("{\"user_id\":\"u%d\"}\n", i)))
			}
			io.WriteString(conn, "0\r\n\r\n")
		})
		answer, took := rest(conn)
		wantTime(t, took, 20*(DefaultReadTimeout-time.Second), 20*DefaultReadTimeout)
		wantStatus(t, answer, 200)
		if !strings.HasSuffix(answer, `{"imported":20,"failed":0,"errors":[]}`) {
			t.Errorf("answer %q", answer)
		}
	})
}

func TestImportThatStopsComing(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		go io.WriteString(conn, importHead+"Content-Length: 100\r\n\r\n{\"user_id\":\"alice\"}\n{")
		answer, took := rest(conn)
		wantTime(t, took, DefaultReadTimeout, DefaultReadTimeout+time.Second)
		wantStatus(t, answer, 200)
		if !strings.Contains(answer, `{"imported":1,"failed":1,`) {
			t.Errorf("answer %q", answer)
		}
	})
}

// TestLongWait shows that a client that has its answer held back for longer than a body may take gets it.
func TestLongWait(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		w.state.outcome = func(ctx context.Context, _ string, _ int, _ string, wait time.Duration) (*statequery.Outcome, error) {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				t.Errorf("cut short: %v", ctx.Err())
			}
			return &statequery.Outcome{TriggerID: "2-10482-3", UserID: "alice", Status: "scheduled", AcceptedAt: someTime, AppliedAt: someTime}, nil
		}
		go io.WriteString(conn, "GET /v1/triggers/2-10482-3?wait=30s HTTP/1.1\r\nHost: x\r\nAuthorization: JWT demo:runtime\r\nConnection: close\r\n\r\n")
		answer, took := rest(conn)
		wantStatus(t, answer, 200)
		wantTime(t, took, 30*time.Second, 30*time.Second)
	})
}

// TestShutdownStopsImport shows that an import does not hold a shutdown up, and says where it stopped.
func TestShutdownStopsImport(t *testing.T) {
	slowly(t, func(t *testing.T, w *world, conn net.Conn) {
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() {
			io.WriteString(conn, importHead+"Transfer-Encoding: chunked\r\n\r\n"+chunk("{\"user_id\":\"alice\"}\n"))
			synctest.Wait()
			sender.Go(func() { w.api.Shutdown(context.Background()) })
			synctest.Wait()
			io.WriteString(conn, chunk("{\"user_id\":\"bob\"}\n"))
		})
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := `{"imported":1,"failed":1,"errors":[{"line":2,"error":"The import stopped: lines from here on were not read","code":"unavailable"}]}`; string(body) != want {
			t.Errorf("answer %s", body)
		}
	})
}
