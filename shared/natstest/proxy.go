package natstest

import (
	"net"
	"sync"
	"testing"
)

// Direction is a way through the proxy.
type Direction int

// The two ways through a proxy.
const (
	ToServer Direction = iota
	ToClient
)

// Proxy forwards TCP connections and can hold back, cut and refuse them. What it holds back it has already taken from the
// sender, so that it can be delivered late: even after the sender gave its connection up.
type Proxy struct {
	target string
	ln     net.Listener
	done   sync.WaitGroup

	mu     sync.Mutex
	refuse bool
	closed bool
	links  map[*link]struct{}
}

// NewProxy listens on a random loopback port and forwards to target (host:port) until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for the proxy: %v", err)
	}
	p := &Proxy{target: target, ln: ln, links: map[*link]struct{}{}}
	p.done.Add(1)
	go p.accept()
	t.Cleanup(p.Close)
	return p
}

// Addr is the proxy's host:port, URL the same for NATS.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// URL is where clients connect to.
func (p *Proxy) URL() string { return "nats://" + p.Addr() }

// Hold keeps back what the connections open now send from here on in the given directions (none given: both).
// Connections made later flow freely; see Refuse.
func (p *Proxy) Hold(dirs ...Direction) { p.eachWay(dirs, func(w *way) { w.hold(true) }) }

// Release delivers what was held back and lets the connections flow again.
func (p *Proxy) Release() { p.eachWay(nil, func(w *way) { w.hold(false) }) }

// Held counts the bytes that are held back in a direction.
func (p *Proxy) Held(dir Direction) int {
	n := 0
	p.eachWay([]Direction{dir}, func(w *way) { n += w.held() })
	return n
}

// Refuse says whether new connections are closed at once. Open ones stay.
func (p *Proxy) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = yes
}

// Cut breaks all connections; what was held back is lost.
func (p *Proxy) Cut() { p.each(func(l *link) { l.close() }) }

// CutClients breaks the clients' side of all connections. What they sent before and is held back still reaches the
// server on Release: the late copy.
func (p *Proxy) CutClients() { p.each(func(l *link) { l.client.Close() }) }

// Close ends the proxy and waits for its goroutines. The test's end calls it.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ln.Close()
	p.Cut()
	p.done.Wait()
}

func (p *Proxy) each(f func(*link)) {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		f(l)
	}
}

func (p *Proxy) eachWay(dirs []Direction, f func(*way)) {
	if len(dirs) == 0 {
		dirs = []Direction{ToServer, ToClient}
	}
	p.each(func(l *link) {
		for _, d := range dirs {
			f(l.ways[d])
		}
	})
}

func (p *Proxy) accept() {
	defer p.done.Done()
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		if !p.open(client) {
			client.Close()
		}
	}
}

// open connects a client through, unless clients are refused or there is no server.
func (p *Proxy) open(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	srv, err := net.Dial("tcp", p.target)
	if err != nil {
		return false
	}
	l := &link{client: client, server: srv}
	l.ways[ToServer], l.ways[ToClient] = newWay(client, srv), newWay(srv, client)
	p.links[l] = struct{}{}
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	return true
}

// link is one client's connection through the proxy.
type link struct {
	client, server net.Conn
	ways           [2]*way
}

// run forwards until nothing can come through any more: the client is gone and what it sent is delivered, or the
// server is gone.
func (l *link) run() {
	var both sync.WaitGroup
	both.Go(func() { l.ways[ToClient].run(); l.client.Close() })
	both.Go(func() { l.ways[ToServer].run(); l.server.Close() })
	both.Wait()
	l.close()
}

// close breaks both sides and drops what is held.
func (l *link) close() {
	l.client.Close()
	l.server.Close()
	for _, w := range l.ways {
		w.drop()
	}
}

// way is one direction of a link: a reader that always takes what comes, and a writer that passes it on unless held.
type way struct {
	src, dst net.Conn

	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	holding bool
	ended   bool // src has no more, or the way was dropped
}

func newWay(src, dst net.Conn) *way {
	w := &way{src: src, dst: dst}
	w.changed.L = &w.mu
	return w
}

func (w *way) run() {
	var reader sync.WaitGroup
	reader.Go(w.read)
	w.write()
	w.drop()
	reader.Wait()
}

func (w *way) read() {
	chunk := make([]byte, 64<<10)
	for {
		n, err := w.src.Read(chunk)
		w.mu.Lock()
		w.buf = append(w.buf, chunk[:n]...)
		w.ended = w.ended || err != nil
		ended := w.ended
		w.mu.Unlock()
		w.changed.Broadcast()
		if ended {
			return
		}
	}
}

// write returns when all is passed on that will ever come, or when dst takes no more.
func (w *way) write() {
	for {
		w.mu.Lock()
		for w.holding && !w.dropped() || len(w.buf) == 0 && !w.ended {
			w.changed.Wait()
		}
		buf := w.buf
		w.buf = nil
		w.mu.Unlock()
		if len(buf) == 0 {
			return
		}
		if _, err := w.dst.Write(buf); err != nil {
			return
		}
	}
}

// dropped: nothing is left and nothing will come. A way that ended while holding bytes waits for its release.
func (w *way) dropped() bool { return w.ended && len(w.buf) == 0 }

func (w *way) hold(yes bool) {
	w.mu.Lock()
	w.holding = yes
	w.mu.Unlock()
	w.changed.Broadcast()
}

func (w *way) held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.holding {
		return 0
	}
	return len(w.buf)
}

// drop forgets what is held and ends the way.
func (w *way) drop() {
	w.mu.Lock()
	w.buf, w.ended = nil, true
	w.mu.Unlock()
	w.changed.Broadcast()
}
