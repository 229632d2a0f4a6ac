package loadgen

import (
	"bufio"
	"bytes"
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

// conn is an HTTP/1.1 client for one connection and one goroutine, with no more than the answers of one server need.
type conn struct {
	addr    string
	timeout time.Duration
	net     net.Conn
	in      *bufio.Reader
	body    []byte
}

// exchange sends a rendered request and returns what was answered. The body is valid until the next call. An error that wraps errNotSent means
// that the server has seen nothing; after any other it may have.
func (c *conn) exchange(request []byte) (status int, body []byte, err error) {
	if err := c.open(); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	keep := false
	defer func() {
		if !keep {
			c.close()
		}
	}()
	if err := c.net.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if _, err := c.net.Write(request); err != nil {
		return 0, nil, err
	}
	status, length, keep, err := c.head()
	if err != nil {
		return 0, nil, err
	}
	c.body = append(c.body[:0], make([]byte, length)...)
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		keep = false
		return 0, nil, err
	}
	return status, c.body, nil
}

func (c *conn) open() (err error) {
	if c.net != nil {
		return nil
	}
	if c.net, err = net.DialTimeout("tcp", c.addr, c.timeout); err != nil {
		c.net = nil
		return err
	}
	c.in = bufio.NewReaderSize(c.net, readBuffer)
	return nil
}

func (c *conn) close() {
	if c.net != nil {
		c.net.Close()
		c.net = nil
	}
}

// head reads the status line and the headers.
func (c *conn) head() (status, length int, keep bool, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, false, err
	}
	const prefix = "HTTP/1.1 "
	if len(line) < len(prefix)+3 || string(line[:len(prefix)]) != prefix {
		return 0, 0, false, errAnswer
	}
	if status, err = strconv.Atoi(string(line[len(prefix) : len(prefix)+3])); err != nil {
		return 0, 0, false, errAnswer
	}
	length, keep = -1, true
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, 0, false, errAnswer
			}
		case bytes.EqualFold(name, []byte("Connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return 0, 0, false, errAnswer
	}
	return status, length, keep, nil
}
