package loadgen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const readBuffer = 4 << 10

var (
	errAnswer  = errors.New("answer is not HTTP/1.1 with a Content-Length")
	errNotSent = errors.New("not sent")
)

// target is where a connection leads to.
type target struct {
	addr string // host:port
	host string // as the Host header has it
	tls  *tls.Config
}

// conn is an HTTP/1.1 client for one connection and one goroutine, with no more than the answers of one server need. A target that cannot be
// reached is left for the next one.
type conn struct {
	targets []target
	at      int // in targets
	timeout time.Duration
	net     net.Conn
	in      *bufio.Reader
	answer  answer
}

// answer is what a server said. The body is valid until the connection's next answer.
type answer struct {
	status     int
	body       []byte
	replayed   bool // Idempotency-Replayed
	retryAfter time.Duration
	keep       bool // the connection
	length     int
}

// exchange sends a rendered request and returns what was answered. An error that wraps errNotSent means that the server has seen nothing;
// after any other it may have.
func (c *conn) exchange(request []byte) (*answer, error) {
	if err := c.send(request); err != nil {
		return nil, err
	}
	return c.receive()
}

// send begins an exchange, and must be followed by receive if it succeeds.
func (c *conn) send(request []byte) error {
	if err := c.open(); err != nil {
		c.at = (c.at + 1) % len(c.targets)
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err := c.net.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		c.close()
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if _, err := c.net.Write(request); err != nil {
		c.close()
		return err
	}
	return nil
}

func (c *conn) receive() (*answer, error) {
	a := &c.answer
	*a = answer{body: a.body, keep: true, length: -1}
	err := c.head(a)
	if err == nil {
		a.body = append(a.body[:0], make([]byte, a.length)...)
		_, err = io.ReadFull(c.in, a.body)
	}
	if err != nil || !a.keep {
		c.close()
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (c *conn) open() (err error) {
	if c.net != nil {
		return nil
	}
	to := &c.targets[c.at]
	dialer := &net.Dialer{Timeout: c.timeout}
	if to.tls != nil {
		c.net, err = tls.DialWithDialer(dialer, "tcp", to.addr, to.tls)
	} else {
		c.net, err = dialer.Dial("tcp", to.addr)
	}
	if err != nil {
		c.net = nil
		return err
	}
	if c.in == nil {
		c.in = bufio.NewReaderSize(c.net, readBuffer)
	}
	c.in.Reset(c.net)
	return nil
}

func (c *conn) close() {
	if c.net != nil {
		c.net.Close()
		c.net = nil
	}
}

// host is that of the target in use.
func (c *conn) host() string { return c.targets[c.at].host }

// head reads the status line and the headers.
func (c *conn) head(a *answer) error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	const prefix = "HTTP/1.1 "
	if len(line) < len(prefix)+3 || string(line[:len(prefix)]) != prefix {
		return errAnswer
	}
	if a.status, err = strconv.Atoi(string(line[len(prefix) : len(prefix)+3])); err != nil {
		return errAnswer
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if err := a.header(line); err != nil {
			return err
		}
	}
	if a.length < 0 {
		return errAnswer
	}
	return nil
}

// header takes what is of use from one line.
func (a *answer) header(line []byte) (err error) {
	name, value, _ := bytes.Cut(line, []byte(": "))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		if a.length, err = strconv.Atoi(string(value)); err != nil || a.length < 0 || a.length > maxAnswer {
			return errAnswer
		}
	case bytes.EqualFold(name, []byte("Connection")):
		a.keep = !bytes.EqualFold(value, []byte("close"))
	case bytes.EqualFold(name, []byte("Idempotency-Replayed")):
		a.replayed = bytes.EqualFold(value, []byte("true"))
	case bytes.EqualFold(name, []byte("Retry-After")):
		if seconds, err := strconv.ParseUint(string(value), 10, 16); err == nil { // a date is not worth reading
			a.retryAfter = time.Duration(seconds) * time.Second
		}
	}
	return nil
}

// maxAnswer bounds a body: the answer to the largest batch is far below.
const maxAnswer = 16 << 20

// field finds a string member in JSON of the server's own making, in which neither name nor value has anything escaped. Nothing is allocated.
func field(body []byte, name string) []byte {
	rest := after(body, name)
	if len(rest) == 0 || rest[0] != '"' {
		return nil
	}
	value, _, _ := bytes.Cut(rest[1:], []byte(`"`))
	return value
}

// number finds a number; 0 if there is none.
func number(body []byte, name string) (n int) {
	for _, c := range after(body, name) {
		if c < '0' || c > '9' || n > 1<<30 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// after is what follows a member's name and its colon.
func after(body []byte, name string) []byte {
	for {
		i := bytes.IndexByte(body, '"')
		if i < 0 {
			return nil
		}
		body = body[i+1:]
		if len(body) > len(name)+1 && string(body[:len(name)]) == name && body[len(name)] == '"' && body[len(name)+1] == ':' {
			return body[len(name)+2:]
		}
	}
}
