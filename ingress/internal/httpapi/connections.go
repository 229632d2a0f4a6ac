package httpapi

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// connections bounds how many connections of a listener are open at once. One too many is answered 503 and closed, in whatever it was about to ask: it is not kept
// waiting for a place that nobody may give up.
type connections struct {
	net.Listener
	most    int64
	open    *atomic.Int64
	refused func()
}

// noPlace is the answer to a connection too many. What it asks was not read, so the client may find the connection reset instead.
const noPlace = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 106\r\n\r\n" +
	`{"error":"Not available at the moment, nothing was stored; try again","message":null,"code":"unavailable"}`

// refusalTime bounds the writing of noPlace, which fits into any socket's buffer.
const refusalTime = 10 * time.Millisecond

func (l *connections) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &connection{Conn: conn, open: l.open}, nil
		}
		l.open.Add(-1)
		l.refused()
		refuse(conn)
	}
}

func refuse(conn net.Conn) {
	conn.SetWriteDeadline(time.Now().Add(refusalTime))
	conn.Write([]byte(noPlace)) // who is gone needs no answer
	conn.Close()
}

// connection gives its place back once.
type connection struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *connection) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
